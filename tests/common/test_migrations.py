"""Migrations: one at a time, each once, and never one that was edited."""

import asyncio

import asyncpg
import pytest

from kefu_common.postgres import migrations
from kefu_common.postgres.migrations import Migration, MigrationChanged, migrate, migrations_of, services


async def test_four_at_the_same_time_apply_everything_once(routing_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [
        Migration("test/0001_pre_a.sql", "create table a (i int)"),
        Migration("test/0002_pre_b.sql", "select pg_sleep(0.2); insert into a values (1)"),
        Migration("test/0003_post_c.sql", "alter table a add column more int; insert into a values (2)"),
    ]
    monkeypatch.setattr(migrations, "migrations_of", lambda _service: several)
    done = await asyncio.gather(*(migrate(routing_dsn, "test") for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 3]
    connection = await asyncpg.connect(routing_dsn)
    assert await connection.fetchval("select count(*) from a") == 2
    await connection.close()


async def test_a_failed_one_leaves_nothing_behind_and_is_applied_when_it_is_mended(
    routing_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Migration("test/0001_pre_a.sql", "create table a (i int)")
    bad = Migration("test/0002_pre_b.sql", "create table b (i int); select 1 / 0")
    monkeypatch.setattr(migrations, "migrations_of", lambda _service: [good, bad])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(routing_dsn, "test")
    mended = Migration(bad.name, "create table b (i int)")
    monkeypatch.setattr(migrations, "migrations_of", lambda _service: [good, mended])
    assert await migrate(routing_dsn, "test") == [bad.name]


async def test_an_edited_one_is_refused(routing_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = migrations_of("routing")
    edited = [*first[:-1], Migration(first[-1].name, first[-1].sql + "\n-- more")]
    monkeypatch.setattr(migrations, "migrations_of", lambda _service: edited)
    with pytest.raises(MigrationChanged, match=first[-1].name):
        await migrate(routing_dsn, "routing")


@pytest.mark.parametrize("service", services())
async def test_every_file_says_when_it_may_run_and_is_applied_once(service: str, dsns: dict[str, str]) -> None:
    names = [m.name for m in migrations_of(service)]
    assert names
    for name in names:
        owner, _, file = name.partition("/")
        number, when, _ = file.split("_", 2)
        assert owner in ("common", service)
        assert number.isdigit()
        assert when in ("pre", "post")
    assert await migrate(dsns[service], service) == []
