"""Tables that have grown are analysed at once, so that no plan made while they were empty is kept."""

from kefu_common.postgres.statistics import analyze_grown
from tests.common.harness import Bench, eventually


async def test_a_table_is_analysed_when_it_has_grown_and_not_again_before_it_doubles(bench: Bench) -> None:
    await bench.db.pool.execute("create table small (n integer)")
    analysed: list[str] = []

    async def grow(rows: int) -> None:
        async with bench.db.pool.acquire() as connection:
            await connection.execute(f"insert into small select generate_series(1, {rows})")
            # The server counts changes when a session is idle; here at once.
            await connection.execute("select pg_stat_force_next_flush()")

    async def is_analysed() -> bool:
        analysed.extend(name for name in await analyze_grown(bench.db) if name.endswith(".small"))
        return bool(analysed)

    await grow(499)
    assert not await is_analysed()
    await grow(200)
    await eventually(is_analysed)
    known = "select reltuples from pg_class where relname = 'small'"
    assert await bench.db.pool.fetchval(known) == 699
    analysed.clear()
    await grow(600)
    assert not await is_analysed()
    await grow(900)
    await eventually(is_analysed)
    assert await bench.db.pool.fetchval(known) == 2199


async def test_a_table_that_does_not_grow_is_analysed_when_all_its_rows_changed_many_times(bench: Bench) -> None:
    async with bench.db.pool.acquire() as connection:
        await connection.execute("create table steady as select generate_series(1, 600) as n")
        await connection.execute("select pg_stat_force_next_flush()")
        await connection.execute("analyze steady")
    analysed: list[str] = []

    async def change(times: int) -> None:
        async with bench.db.pool.acquire() as connection:
            for _ in range(times):
                await connection.execute("update steady set n = n")
            await connection.execute("select pg_stat_force_next_flush()")

    async def is_analysed() -> bool:
        analysed.extend(name for name in await analyze_grown(bench.db) if name.endswith(".steady"))
        return bool(analysed)

    await change(9)
    assert not await is_analysed()
    await change(2)
    await eventually(is_analysed)
