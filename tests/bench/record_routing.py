"""Routing itself, unchanged, with each transaction's writing statements written down as it hands them to the driver.

Run by (b) once: the plain loop then writes the same rows by the same statements in the same transactions.
"""

import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kefu_routing.app
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Connection, Database
from kefu_common.service import serve
from kefu_routing.settings import RoutingSettings
from kefu_routing.store import beginnings, contacts

_WRITES = ("insert", "update", "delete", "with")


@dataclass(frozen=True)
class Statement:
    """One writing statement and how it was called: `execute` or `fetch`."""

    method: str
    sql: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Transaction:
    """What one transaction wrote. `batch` is how many events of the topic it applied; 0: an assignment or timer."""

    statements: list[Statement]
    batch: int


class _Watched:
    """A connection that remembers what was written through it."""

    def __init__(self, connection: Connection, statements: list[Statement], with_locks: bool) -> None:
        self._connection = connection
        self._statements = statements
        self._with_locks = with_locks

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def watched(sql: str, *arguments: Any) -> Any:
            if sql == beginnings.READ:
                # A loop reads nothing.
                self._note(name, inbox.RECORD, arguments[:2])
                if self._with_locks:
                    self._note(name, contacts.LOCK_IDENTITIES.format("$1"), arguments[-1:])
            elif sql.lstrip().lower().startswith(_WRITES):
                self._note(name, sql, arguments)
            return await found(sql, *arguments)

        return watched

    def _note(self, method: str, sql: str, arguments: tuple[Any, ...]) -> None:
        # Pickled at once: the objects change while they are worked with.
        self._statements.append(Statement(method, sql, pickle.loads(pickle.dumps(arguments))))


class RecordingDatabase(Database):
    """A database whose transactions are written down in the order of their commits."""

    recorded: list[Transaction] = []
    with_locks = False
    """Whether the locks of contacts are written down: two loops that make the same ones wait for each other by them."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """As `Database.transaction`."""
        statements: list[Statement] = []
        async with super().transaction() as tx:
            yield cast(Connection, _Watched(tx, statements, self.with_locks))
        if statements:
            self.recorded.append(Transaction(statements, _batch_of(statements)))


def _batch_of(statements: list[Statement]) -> int:
    first = statements[0]
    return len(first.arguments[0]) if first.sql.startswith("insert into inbox") else 0


def main() -> None:
    """PORT FILE [locks]: serve until SIGTERM, then write what was recorded to the file."""
    port, file, *locks = sys.argv[1:]
    RecordingDatabase.with_locks = bool(locks)
    kefu_routing.app.__dict__["Database"] = RecordingDatabase
    settings = RoutingSettings()
    code = serve("routing", kefu_routing.app.create(settings), settings, int(port))
    Path(file).write_bytes(pickle.dumps(RecordingDatabase.recorded))
    sys.exit(code)


if __name__ == "__main__":
    # As a script this module would be called __main__ in the pickle, and nobody could read it.
    from tests.bench import record_routing

    record_routing.main()
