"""One running service for all tests of this folder; each test has an account of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tests.notifications.stack import Stack, a_stack, end


@pytest.fixture(scope="session")
async def shared(make_world: Callable[[], Awaitable[World]], run_folder: Path) -> AsyncIterator[Stack]:
    """A stack that tests share, and none of them breaks."""
    stack = await a_stack(await make_world(), run_folder)
    yield stack
    code = await end(stack)
    lines = stack.process.log.read_text().splitlines()
    assert code == 0, lines[-20:]
    # The first use of a consumer group logs errors of its coordinator, which are expected.
    assert [line for line in lines if '"level": "error"' in line and "group_coordinator" not in line] == []


@pytest.fixture
async def own(world: World, run_folder: Path) -> AsyncIterator[Callable[..., Awaitable[Stack]]]:
    """Makes stacks that a test may break."""
    made: list[Stack] = []

    async def make(**settings: str) -> Stack:
        made.append(await a_stack(world, run_folder, **settings))
        return made[-1]

    yield make
    for stack in made:
        await end(stack)
