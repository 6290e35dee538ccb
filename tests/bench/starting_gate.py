"""A start at one moment for processes that share a topic: they are ready, the work is there, and a gate opens.

Nothing can be applied without the inbox, so a lock on it is the gate. Without it the process that joins first would
have all partitions for the seconds until the other has joined.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from tests.bench.servers import World

_WITHIN_S = 40.0
_LOOK_S = 0.1


class Gate:
    """Opens when the block that holds it shut ends."""

    opened_at: datetime


@asynccontextmanager
async def held_shut(dsn: str) -> AsyncIterator[Gate]:
    """Let nobody begin while the block runs."""
    gate = Gate()
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("lock table inbox in access exclusive mode")
            yield gate
            gate.opened_at = datetime.now(UTC)
    finally:
        await connection.close()


async def until_shared(world: World, processes: int, group: str | None = None) -> None:
    """Wait until so many relays share the outbox, and so many members of the group the topic. Raises `RuntimeError`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        async with _looking(world) as connection:
            async for _ in _looks(f"{processes} processes do not share the work"):
                if await _relays(connection) == processes and (
                    group is None or await _members(admin, world.prefix + group) == processes
                ):
                    return
    finally:
        await admin.close()


async def until_waiting(world: World, processes: int) -> None:
    """Wait until so many stand at the gate with a batch in their hands. Raises `RuntimeError`."""
    async with _looking(world) as connection:
        async for _ in _looks(f"{processes} processes do not stand at the gate"):
            waiting = "select count(*) from pg_locks where relation = 'inbox'::regclass and not granted"
            if await connection.fetchval(waiting) >= processes:
                return


async def _looks(problem: str) -> AsyncIterator[None]:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(_LOOK_S)
    raise RuntimeError(f"{problem} after {_WITHIN_S:g} s")


@asynccontextmanager
async def _looking(world: World) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(world.dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    """How many share the partitions; none while the group is still being balanced."""
    (answer,) = await admin.describe_consumer_groups([group])
    (_, _, state, _, _, members, *_) = answer.groups[0]
    return len(members) if state == "Stable" else 0


async def _relays(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """How many share the shards evenly."""
    shares = await connection.fetch("select count(*) as shards from outbox_shards group by holder")
    return len(shares) if len({share["shards"] for share in shares}) == 1 else 0
