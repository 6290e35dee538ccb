"""One database, and in it one schema and one role per service, none of which can see another's."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

SCHEMAS = ("routing", "notifications", "reporting")
DATABASE = "kefu"


async def prepare_database(admin_dsn: str, database: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Makes what is missing, sets the passwords (by service name), and answers each service's DSN. Repeatable.

    Roles belong to the whole server, and so does their search_path: clones of the database need nothing more than
    `clone_database`.
    """
    await _ensure_database(admin_dsn, database)
    connection = await asyncpg.connect(_with_database(admin_dsn, database))
    try:
        async with connection.transaction():
            # Two of us on one server would otherwise both find that a role is missing.
            await connection.execute("select pg_advisory_xact_lock(hashtext('kefu prepare_database'))")
            for service in SCHEMAS:
                await _ensure_role(connection, service, passwords[service])
            await _restrict(connection, database)
            await connection.execute("revoke all on schema public from public")
            for service in SCHEMAS:
                await connection.execute(f"create schema if not exists {service} authorization kefu_{service}")
    finally:
        await connection.close()
    return service_dsns(admin_dsn, database, passwords)


async def clone_database(admin_dsn: str, template: str, database: str) -> None:
    """A copy with the same rights. Nobody may be connected to the template meanwhile."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'create database "{database}" template "{template}"')
        await _restrict(connection, database)
    finally:
        await connection.close()


async def drop_database(admin_dsn: str, database: str) -> None:
    """Throws out whoever is still connected."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'drop database if exists "{database}" with (force)')
    finally:
        await connection.close()


def service_dsns(admin_dsn: str, database: str, passwords: Mapping[str, str]) -> dict[str, str]:
    server = urlsplit(admin_dsn)
    where = f"{server.hostname}:{server.port or 5432}"
    return {name: f"postgresql://kefu_{name}:{quote(passwords[name], safe='')}@{where}/{database}" for name in SCHEMAS}


async def _ensure_database(admin_dsn: str, database: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", database):
            await connection.execute(f'create database "{database}"')
    finally:
        await connection.close()


async def _ensure_role(connection: "asyncpg.Connection[asyncpg.Record]", service: str, password: str) -> None:
    role = f"kefu_{service}"
    if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role):
        await connection.execute(f"create role {role} login")
    quoted = await connection.fetchval("select quote_literal($1::text)", password)
    await connection.execute(f"alter role {role} login password {quoted}")
    await connection.execute(f"alter role {role} set search_path = {service}")


async def _restrict(connection: "asyncpg.Connection[asyncpg.Record]", database: str) -> None:
    roles = ", ".join(f"kefu_{service}" for service in SCHEMAS)
    await connection.execute(f'revoke all on database "{database}" from public')
    await connection.execute(f'grant connect on database "{database}" to {roles}')


def _with_database(dsn: str, database: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{database}"))
