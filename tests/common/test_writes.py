"""Writes that do not depend on each other go to the server together."""

from asyncpg.connection import LoggedQuery

from kefu_common.postgres.database import Json
from kefu_common.postgres.writes import Writes
from tests.common.harness import Bench


async def test_each_write_has_its_own_parameters_and_all_go_in_one_statement(bench: Bench) -> None:
    await bench.db.pool.execute("create table first (n integer, word text)")
    await bench.db.pool.execute("create table second (n integer, word text)")
    await bench.db.pool.execute("insert into second values (1, 'old'), (2, 'old')")
    asked: list[str] = []
    writes = Writes()
    writes.add("insert into first select * from unnest($1::integer[], $2::text[])", [1, 2], ["一", "二"])
    writes.add("update second set word = $2 where n = $1", 2, "new")
    writes.add("insert into first values ($1, 'last')", 3)

    def note(query: LoggedQuery) -> None:
        # The client asks for types that it sees for the first time.
        if "pg_" not in query.query and "jit" not in query.query:
            asked.append(query.query)

    async with bench.db.transaction() as tx:
        with tx.query_logger(note):
            await writes.run(tx)
            await writes.run(tx)
    assert len(asked) == 1
    firsts = [tuple(row) for row in await bench.db.pool.fetch("select * from first order by n")]
    assert firsts == [(1, "一"), (2, "二"), (3, "last")]
    seconds = [tuple(row) for row in await bench.db.pool.fetch("select * from second order by n")]
    assert seconds == [(1, "old"), (2, "new")]


async def test_json_that_is_written_already_is_kept_as_it_is(bench: Bench) -> None:
    await bench.db.pool.execute("create table documents (n integer, body jsonb)")
    bodies = [{"名": ["客服", None, 1.5]}, Json('{"名": "客服"}'.encode()), "plain", None]
    await bench.db.pool.execute(
        "insert into documents select * from unnest($1::integer[], $2::jsonb[])", [1, 2, 3, 4], bodies
    )
    found = [row["body"] for row in await bench.db.pool.fetch("select body from documents order by n")]
    assert found == [{"名": ["客服", None, 1.5]}, {"名": "客服"}, "plain", None]
