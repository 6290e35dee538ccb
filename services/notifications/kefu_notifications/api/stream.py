"""`GET /v1/stream`: both feeds as server-sent events, resumable from any mark that is still held.

At least once, in order per ticket and interaction. Nothing is queued per reader: each stream reads its own rows, and
a slow reader slows only itself. Source: design, section 5; the format: WHATWG HTML, server-sent events.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kefu_common.http.auth import Principal, unproven_principal
from kefu_common.http.problems import Gone, Invalid, Problem, declared
from kefu_common.postgres.database import Database, passes
from kefu_common.telemetry import logs, metrics
from kefu_common.waking import end, is_set_within
from kefu_notifications.api.access import Caller, Db, sites_of
from kefu_notifications.api.feed_watch import FeedWatch
from kefu_notifications.store import feed
from kefu_notifications.store.feed import Feed, Given, Reader

log = logs.get(__name__)
router = APIRouter(prefix="/v1/stream", tags=["stream"])

_COMMENT_EVERY_S: Final = 15.0
_CHECK_KEY_EVERY_S: Final = 1.0
_ROWS: Final = 200
_MARK: Final = re.compile(r"[0-9]{1,18}")
_SCOPES: Final[Mapping[Feed, str]] = {"tickets": "tickets:read", "outbound": "outbound:read"}
_CHANNELS: Final = {"calls:write": "call", "chats:write": "chat", "emails:write": "email", "messages:write": "message"}


class StreamQuery(BaseModel):
    """Which feed."""

    model_config = ConfigDict(extra="forbid")

    feed: Feed


class EventStream(Response):
    """An endless answer: ends when the reader leaves, the process stops, or the frames end."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], ending: asyncio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._ending = ending

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames; `send` waits while the reader's connection is full."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        giving = asyncio.create_task(self._give(send))
        tasks = [
            giving,
            asyncio.create_task(_until_gone(receive)),
            asyncio.create_task(_until_set(self._ending)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        if not giving.cancelled() and (error := giving.exception()) is not None:
            # The reader sees an end, comes back with its mark, and misses nothing.
            log.error("stream_failed", error=logs.described(error))
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(1):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _give(self, send: Send) -> None:
        async for frame in self._frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})


@router.get("", status_code=200, response_class=EventStream, responses=declared(401, 403, 410, 422, 503))
async def stream(
    request: Request,
    caller: Caller,
    db: Db,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventStream:
    """Events of a feed: `id` the mark, `event` the type, `data` the CloudEvent on one line.

    Without `Last-Event-ID` from now on. A mark that is no longer held is `410`: read the state anew, then begin
    without one. The outbound feed gives instructions for interactions that the key's adapter posted, and those for
    interactions that nobody posted, of the key's sites and channels; none after its `expires_at`.
    """
    caller.need(_SCOPES[query.feed])
    mark = await _start(db, query.feed, caller.account, last_event_id)
    watch: FeedWatch = request.app.state.feed_watch
    reader = Reader(query.feed, caller.account, sites_of(caller), _channels(caller), caller.adapter)
    return EventStream(_frames(request, db, watch, reader, mark), watch.ending)


async def _start(db: Database, feed_name: Feed, account: str, last_event_id: str | None) -> int:
    highest = await feed.highest(db.pool)
    if not last_event_id:
        return highest
    if not _MARK.fullmatch(last_event_id):
        raise Invalid([("Last-Event-ID", "expected the id of an event from this stream")])
    mark = int(last_event_id)
    # A mark above all that was ever given is from before the feed began anew: what lies between is lost as well.
    if mark > highest or mark < await feed.forgotten(db.pool, feed_name, account):
        raise Gone("this mark is no longer held: read the state anew, and begin without Last-Event-ID")
    return mark


async def _frames(request: Request, db: Database, watch: FeedWatch, reader: Reader, mark: int) -> AsyncIterator[bytes]:
    with watch.watching(reader.feed, reader.account) as news, metrics.STREAMS.labels(reader.feed).track_inprogress():
        # An id without data sets the reader's mark and is no event: it can resume even if nothing ever came.
        yield f": kefu {reader.feed}\nid: {mark}\n\n".encode()
        comment_at = time.monotonic() + _COMMENT_EVERY_S
        while await _is_valid(request, reader.feed):
            news.clear()
            rows = await _read(db, reader, mark)
            if any(row.forgotten > mark for row in rows):
                # What came next was cleaned up before it could be given. Whoever comes back with the mark gets 410.
                return
            frames = b"".join(_frame(row) for row in rows if row.event is not None)
            if rows:
                mark = rows[-1].mark
            if frames:
                yield frames
            if time.monotonic() >= comment_at:
                comment_at = time.monotonic() + _COMMENT_EVERY_S
                # With the mark: it also moves past what this reader may not see, and would become too old meanwhile.
                yield f": still here\nid: {mark}\n\n".encode()
            if not rows:
                await _news_or_time(news, comment_at, request, reader.feed)


async def _news_or_time(news: asyncio.Event, comment_at: float, request: Request, feed_name: Feed) -> None:
    """Wait for news or the next comment; a key that is revoked meanwhile ends the wait."""
    while (left_s := comment_at - time.monotonic()) > 0:
        if await is_set_within(news, min(left_s, _CHECK_KEY_EVERY_S)) or not await _is_valid(request, feed_name):
            return


async def _read(db: Database, reader: Reader, mark: int) -> list[Given]:
    try:
        return await feed.after(db.pool, reader, mark, _ROWS)
    except Exception as error:
        if not passes(error):
            raise
        # The stream stays: the watch wakes it when the database is back.
        return []


async def _is_valid(request: Request, feed_name: Feed) -> bool:
    """Whether the key, or the person with their roles, may still read it: a token ends, and so does its stream."""
    try:
        (await unproven_principal(request)).need(_SCOPES[feed_name])
    except Problem:
        return False
    return True


def _frame(row: Given) -> bytes:
    return f"id: {row.mark}\nevent: {row.type}\ndata: {row.event}\n\n".encode()


def _channels(caller: Principal) -> list[str] | None:
    """The channels that a key may post to are the key's; one that may post to none reads all."""
    own = [channel for scope, channel in _CHANNELS.items() if scope in caller.scopes]
    return own or None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
