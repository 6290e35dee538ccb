"""One running intake for all tests of this folder, with a directory that has two accounts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tests.intake.building import a_key
from tests.intake.running import Intake, running_intake, until


@pytest.fixture(scope="session")
async def intake(make_world: Callable[[], Awaitable[World]], run_folder: Path) -> AsyncIterator[Intake]:
    """The service, with its directory: `secret` may do everything for acme, and others less."""
    world = await make_world()
    async with running_intake(world.kafka, world.prefix, run_folder / "intake.log") as started:
        await seed(started)
        await until(lambda: knows(started, "b-secret"), 20)
        yield started


async def seed(intake: Intake) -> None:
    """Publish the directory of two accounts."""
    for site in ("shop", "night"):
        await intake.set("site", site, {"id": site, "name": site})
    await intake.set("key", "adapter", a_key("secret"))
    await intake.set("key", "night", a_key("night-secret", "night", sites=["night", "closed"]))
    await intake.set("key", "chats", a_key("chats-secret", "chats", scopes=["chats:write"], adapter=None))
    await intake.set("key", "old", a_key("old-secret", "old", expires_at="2020-01-01T00:00:00Z"))
    await intake.set("site", "b-shop", {"id": "b-shop", "name": "b"}, account="b-corp")
    await intake.set("key", "adapter", a_key("b-secret"), account="b-corp")


async def knows(intake: Intake, key: str) -> bool:
    """Whether intake would let the key post; says nothing about events."""
    return (await intake.post("chats", {}, key=key)).status_code == 422
