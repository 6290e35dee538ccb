"""The pool of one service's own schema, and what counts as an error that passes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic_core import to_json

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

Reader: TypeAlias = "Connection | asyncpg.Pool[asyncpg.Record]"
"""Where a single statement that only reads may run."""

PASSING: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when a connection is lost while it is given back to the pool
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ObjectInUseError,
    asyncpg.PostgresSystemError,
    asyncpg.IdleInTransactionSessionTimeoutError,  # we were paused
    asyncpg.InvalidCachedStatementError,  # a migration ran; the statement is prepared anew
    asyncpg.ReadOnlySQLTransactionError,  # a fail-over
    OSError,
    TimeoutError,
)


# Every statement of ours looks up the keys of a batch. A plan that was made while a table was new and empty would
# scan it from end to end, and is kept until the table is analysed; these make an index the first choice from the start.
# Plain index scans also remember which entries are dead; a bitmap scan of a queue would visit all of them every time.
_KEY_LOOKUPS: Final = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class Json(bytes):
    """A value for a `jsonb` parameter that is JSON already."""


class TryAgain(Exception):
    """A transaction lost a race that it will win when it is run again."""


def passes(error: BaseException) -> bool:
    """Whether the same work may succeed later without a change: a restart, a deadlock, a full pool, a time-out."""
    if isinstance(error, asyncpg.InterfaceError):
        # A lost connection, or a mistake of ours such as too few arguments; asyncpg tells them apart by words only.
        return "clos" in str(error) or "not started" in str(error)
    return isinstance(error, (*PASSING, TryAgain))


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    # In the binary form a version comes first, and neither side turns bytes into text and back.
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + (value if isinstance(value, Json) else to_json(value)),
        decoder=lambda raw: json.loads(raw[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _keep(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Given back, a connection stays as it is: nothing of ours outlives a transaction, and a reset is a round trip."""
    if connection.is_in_transaction():
        await connection.reset()


class Database:
    """A pool of connections as the service's role."""

    def __init__(self, dsn: str, size: int, name: str) -> None:
        self._dsn = dsn
        self._size = size
        self._name = name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def start(self) -> None:
        """Connect. Raises `OSError` or an asyncpg error when the database does not answer within 10 s."""
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=min(2, self._size),
            max_size=self._size,
            command_timeout=30,
            timeout=10,
            init=_prepare,
            reset=_keep,
            server_settings={
                "application_name": self._name,
                "timezone": "UTC",
                "idle_in_transaction_session_timeout": "15s",
                "lock_timeout": "10s",
                "jit": "off",
                **_KEY_LOOKUPS,
            },
        )

    async def stop(self) -> None:
        """Close, giving running statements 5 s."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The pool, for single statements."""
        if self._pool is None:
            raise asyncpg.InterfaceError("the database pool is not started")
        return self._pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction (READ COMMITTED) on a connection of its own."""
        async with self.pool.acquire(timeout=10) as connection, connection.transaction():
            yield connection
