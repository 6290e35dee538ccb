"""Migrations: numbered SQL files, run one at a time under a lock, each in a transaction.

A name is `NNNN_pre_what.sql` while the running code still works on its result, `NNNN_post_what.sql` when it must wait
until the old code is gone. What two services need alike (inbox, outbox) lies here; the rest lies with its service.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

_LOCK = 0x6B656675  # "kefu"


class MigrationChanged(Exception):
    """A file that was already applied says something else now. Write a new migration instead."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `name` is `common/…` or `<service>/…`."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def services() -> list[str]:
    """The services that have a schema: those that registered `kefu.migrations`."""
    return sorted(point.name for point in entry_points(group="kefu.migrations"))


def migrations_of(service: str) -> list[Migration]:
    """Its migrations in order: the shared ones, then its own."""
    (point,) = entry_points(group="kefu.migrations", name=service)
    shared = _read("common", files("kefu_common.postgres") / "migrations")
    return shared + _read(service, files(point.value) / "migrations")


async def migrate(dsn: str, service: str) -> list[str]:
    """Apply what is missing and return the names.

    Raises:
        MigrationChanged: an applied file was edited.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists migrations (name text primary key, checksum text not null,"
            " applied_at timestamptz not null default now())"
        )
        applied = {r["name"]: r["checksum"] for r in await connection.fetch("select name, checksum from migrations")}
        done = []
        for migration in migrations_of(service):
            if migration.name in applied:
                if applied[migration.name] != migration.checksum:
                    raise MigrationChanged(migration.name)
                continue
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '5s'")
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into migrations (name, checksum) values ($1, $2)", migration.name, migration.checksum
                )
            done.append(migration.name)
        return done
    finally:
        await connection.close()


def _read(owner: str, folder: Traversable) -> list[Migration]:
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f"{owner}/{f.name}", f.read_text(encoding="utf-8")) for f in found]
