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
