"""Reporting in a world of its own."""

from collections.abc import AsyncIterator

import pytest

from kefu_common.kafka.producer import EventProducer
from kefu_common.postgres.database import Database
from tests.conftest import World
from tests.reporting.service import Service


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    """Reporting's own schema, empty."""
    database = Database(world.dsns["reporting"], 6, "test")
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def service(world: World) -> AsyncIterator[Service]:
    """Not running yet."""
    producer = EventProducer(world.kafka, "test")
    await producer.start()
    yield Service(world, producer)
    await producer.stop()
