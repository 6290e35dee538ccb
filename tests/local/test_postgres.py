import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from kefu_local.databases import SCHEMAS, clone_database, prepare_database, service_dsns
from kefu_local.postgres import PostgresConfig, PostgresServer
from kefu_local.supervisor import Supervisor

PASSWORDS = {name: f"it's {name}: p@ss/word" for name in SCHEMAS}


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    folder: Path = tmp_path_factory.mktemp("postgres")
    config = PostgresConfig(folder / "pg", folder / "postgres.json", a_free_port(), "adm:n@/'", folder / "postgres.log")
    server, supervisor = PostgresServer(config), Supervisor()
    await server.prepare()
    await supervisor.start(server.spec())
    try:
        await supervisor.wait_ready("postgres", within_s=60)
        yield server
    finally:
        await supervisor.stop()
        from kefu_local.postgres_home import remove_outside

        remove_outside(config.named_in)


async def test_each_role_sees_its_own_schema_only(server: PostgresServer) -> None:
    dsns = await prepare_database(server.dsn(), "kefu", PASSWORDS)
    assert dsns == await prepare_database(server.dsn(), "kefu", PASSWORDS)
    await clone_database(server.dsn(), "kefu", "kefu_clone")

    for each in (dsns, service_dsns(server.dsn(), "kefu_clone", PASSWORDS)):
        routing, reporting = await asyncpg.connect(each["routing"]), await asyncpg.connect(each["reporting"])
        try:
            await routing.execute("create table t (i int)")
            assert await routing.fetchval("select count(*) from routing.t") == 0
            for forbidden in (
                "select * from routing.t",
                "create table routing.u (i int)",
                "create table public.u (i int)",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await reporting.execute(forbidden)
        finally:
            await routing.close()
            await reporting.close()


async def test_chinese_letters_are_letters(server: PostgresServer) -> None:
    await server.check()
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute("create extension if not exists pg_trgm")
        assert len(await connection.fetchval("select show_trgm('烤箱坏了abc')")) == 8
    finally:
        await connection.close()


async def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    await prepare_database(server.dsn(), "kefu", PASSWORDS)
    wrong = service_dsns(server.dsn(), "kefu", dict.fromkeys(SCHEMAS, "wrong"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong["routing"])
