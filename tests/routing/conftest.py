"""Routing services for tests: one of a test's own, and one for tests that only ask or are refused."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.conftest import World
from tests.routing.service import Routing, running


@pytest.fixture
async def routing(world: World) -> AsyncIterator[Routing]:
    async with running(world) as service:
        yield service


@pytest.fixture(scope="module")
async def shared(make_world: Callable[[], Awaitable[World]]) -> AsyncIterator[Routing]:
    """One service for tests that only ask or are refused."""
    async with running(await make_world()) as service:
        await service.set_up()
        yield service
