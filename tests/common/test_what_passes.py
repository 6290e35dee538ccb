"""Errors that pass: the batch waits and is applied once. And which errors those are."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest
from prometheus_client import REGISTRY

from kefu_common.postgres.database import Connection, Database, TryAgain, passes
from kefu_common.postgres.migrations import migrate
from tests.common.conftest import OwnServer
from tests.common.harness import TOPIC, Bench, eventually, ticked
from tests.conftest import World

Statement = Callable[[Connection], Awaitable[object]]


async def test_connections_that_are_terminated_again_and_again_lose_and_repeat_nothing(bench: Bench) -> None:
    consuming = bench.consuming(batch_size=20, takes_s=0.05)
    admin = await asyncpg.connect(bench.world.admin_dsn)
    database = urlsplit(bench.dsn).path.removeprefix("/")

    async def keep_terminating() -> None:
        while True:
            await admin.fetch("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", database)
            await asyncio.sleep(0.1)

    def retries() -> float:
        return REGISTRY.get_sample_value("kefu_batch_retries_total", {"topic": TOPIC}) or 0

    before = retries()
    await bench.post(*(ticked(n, f"k{n % 5}") for n in range(400)))
    terminating = asyncio.create_task(keep_terminating())
    await consuming.consumer.start()
    await eventually(lambda: retries() >= before + 3)
    terminating.cancel()
    await asyncio.wait([terminating])
    await admin.close()

    async def are_all_applied() -> bool:
        return len(await bench.applied()) == 400

    await eventually(are_all_applied, 30)
    assert sorted(await bench.applied()) == list(range(400))
    for key in range(5):
        numbers = await bench.applied(f"k{key}")
        assert numbers == sorted(numbers)
    assert await bench.letters() == []
    assert not consuming.broken


async def test_a_killed_database_is_waited_for_and_readiness_says_so(world: World, own_postgres: OwnServer) -> None:
    await migrate(own_postgres.address, "reporting")
    async with Bench(world, own_postgres.address) as bench:
        consuming = bench.consuming()
        await bench.post(ticked(1))
        await consuming.consumer.start()

        async def is_applied() -> bool:
            return await bench.applied() == [1]

        await eventually(is_applied)
        await own_postgres.kill()
        await bench.post(ticked(2))
        await own_postgres.ready()

        async def is_applied_too() -> bool:
            return await bench.applied() == [1, 2]

        await eventually(is_applied_too)

        await own_postgres.supervisor.halt("postgres")
        await bench.post(ticked(3))
        await eventually(lambda: consuming.consumer.problem is not None)
        await own_postgres.supervisor.resume("postgres")
        await own_postgres.ready()

        async def are_all_applied() -> bool:
            return await bench.applied() == [1, 2, 3] and consuming.consumer.problem is None

        await eventually(are_all_applied)
        assert await bench.letters() == []


async def error_of(db: Database, statement: Statement) -> Exception:
    with pytest.raises(Exception) as caught:
        async with db.transaction() as tx:
            await statement(tx)
    return caught.value


async def test_a_mistake_of_ours_never_passes(bench: Bench) -> None:
    async def at_the_same_time(tx: Connection) -> None:
        await asyncio.gather(tx.fetchval("select pg_sleep(0.1)"), tx.fetchval("select 1"))

    mistakes: list[Statement] = [
        lambda tx: tx.fetchval("select $1::int + $2::int", 1),
        lambda tx: tx.fetchval("select $1::int", "one"),
        lambda tx: tx.fetchval("select $1::text", "a\x00b"),
        lambda tx: tx.fetchval("select 1 / 0"),
        lambda tx: tx.fetchval("select nothing"),
        at_the_same_time,
    ]
    for mistake in mistakes:
        error = await error_of(bench.db, mistake)
        assert not passes(error), repr(error)
    assert not passes(asyncpg.UniqueViolationError())
    assert not passes(KeyError())


async def test_what_a_restart_a_race_or_a_migration_causes_passes(bench: Bench) -> None:
    async def dies(tx: Connection) -> None:
        await bench.db.pool.execute("select pg_terminate_backend($1)", await tx.fetchval("select pg_backend_pid()"))
        await tx.fetchval("select 1")

    async def is_closed(tx: Connection) -> None:
        await bench.db.pool.execute("select pg_terminate_backend($1)", await tx.fetchval("select pg_backend_pid()"))
        with pytest.raises(asyncpg.PostgresError):
            await tx.fetchval("select 1")
        await tx.fetchval("select 1")

    async def meets_a_migration(tx: Connection) -> None:
        await tx.fetch("select * from applied")
        await tx.execute("alter table applied add column more integer")
        await tx.fetch("select * from applied")

    async def cannot_wait(tx: Connection) -> None:
        async with bench.db.transaction() as other:
            await other.execute("lock table applied")
            await tx.execute("set local lock_timeout = '10ms'")
            await tx.execute("lock table applied")

    async def is_slow(tx: Connection) -> None:
        await tx.fetchval("select pg_sleep(5)", timeout=0.05)

    async def was_paused(tx: Connection) -> None:
        await tx.execute("set local idle_in_transaction_session_timeout = '20ms'")
        await eventually(tx.is_closed)
        await tx.fetchval("select 1")

    passing: list[Statement] = [dies, is_closed, meets_a_migration, cannot_wait, is_slow, was_paused]
    for statement in passing:
        error = await error_of(bench.db, statement)
        assert passes(error), repr(error)
    assert passes(TryAgain())
    assert passes(ConnectionRefusedError())
    stopped = Database(bench.dsn, 2, "stopped")
    with pytest.raises(asyncpg.InterfaceError) as caught:
        _ = stopped.pool
    assert passes(caught.value)
