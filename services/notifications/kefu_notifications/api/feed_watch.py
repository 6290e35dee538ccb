"""Waking streams: one look at the feed for all streams of a process, told by Postgres or at the latest each second."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kefu_common.postgres.database import Database, passes
from kefu_common.telemetry import logs
from kefu_common.waking import is_set_within
from kefu_notifications.store import feed
from kefu_notifications.store.feed import CHANNEL

log = logs.get(__name__)

_LOOK_S = 1.0


class FeedWatch:
    """Knows which streams have something new. Streams read their own rows."""

    def __init__(self, db: Database, dsn: str) -> None:
        self._db = db
        self._dsn = dsn
        self._told = asyncio.Event()
        self._streams: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self.ending = asyncio.Event()
        """Set when streams must end, because the process does."""

    @contextmanager
    def watching(self, feed_name: str, account: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there may be something new in an account's feed."""
        key = (feed_name, account)
        news = asyncio.Event()
        self._streams[key].add(news)
        try:
            yield news
        finally:
            self._streams[key].discard(news)
            if not self._streams[key]:
                del self._streams[key]

    async def run(self) -> None:
        """Watch until cancelled; connects again after the database was away."""
        while True:
            try:
                await self._watch()
            except Exception as error:
                if not passes(error):
                    raise
                log.warning("feed_watch_waits", error=type(error).__name__)
                await asyncio.sleep(_LOOK_S)

    async def _watch(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            connection.add_termination_listener(lambda _connection: self._told.set())
            await connection.add_listener(CHANNEL, self._on_news)
            seen = await feed.highest(self._db.pool)
            # Whatever came while nobody listened.
            for streams in self._streams.values():
                _wake(streams)
            while not connection.is_closed():
                self._told.clear()
                for feed_name, account, head in await feed.heads(self._db.pool, seen):
                    _wake(self._streams.get((feed_name, account), set()))
                    seen = max(seen, head)
                await is_set_within(self._told, _LOOK_S)
        finally:
            connection.terminate()

    def _on_news(self, *_what: object) -> None:
        self._told.set()


def _wake(streams: set[asyncio.Event]) -> None:
    for news in streams:
        news.set()
