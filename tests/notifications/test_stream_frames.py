"""What one stream gives over time, frame by frame: comments with marks, and the end where rows are gone."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from kefu_common.http.auth import Principal
from kefu_common.postgres.database import Database
from kefu_notifications.api import stream
from kefu_notifications.api.feed_watch import FeedWatch
from kefu_notifications.api.needs import NEEDS
from kefu_notifications.store import feed
from kefu_notifications.store.feed import FeedEvent, Reader

READER = Reader("tickets", "acme", ["shop"], None, None)


@pytest.fixture
async def db(notifications_dsn: str) -> AsyncIterator[Database]:
    made = Database(notifications_dsn, 4, "test")
    await made.start()
    yield made
    await made.stop()


async def _knows_everybody(_request: Request) -> Principal:
    return Principal("acme", "k", frozenset({"tickets:read"}))


def _frames(db: Database, mark: int) -> AsyncIterator[bytes]:
    state = SimpleNamespace(authenticator=_knows_everybody, needs=NEEDS)
    scope = {"route": SimpleNamespace(path="/v1/stream")}
    request = SimpleNamespace(app=SimpleNamespace(state=state), method="GET", scope=scope)
    return stream._frames(cast(Request, request), db, FeedWatch(db, ""), READER, mark)


async def _append(db: Database, *sites: str) -> None:
    async with db.transaction() as tx:
        events: list[Any] = [
            FeedEvent("tickets", "acme", site, "chat", None, "t", "kefu.ticket.noted", "{}") for site in sites
        ]
        await feed.append(tx, events)


async def test_a_comment_comes_in_time_and_carries_the_mark_past_what_the_reader_may_not_see(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stream._COMMENT_EVERY_S == 15
    monkeypatch.setattr(stream, "_COMMENT_EVERY_S", 0.05)
    await _append(db, "shop", "elsewhere", "elsewhere")
    frames = _frames(db, 0)
    assert await anext(frames) == b": kefu tickets\nid: 0\n\n"
    assert await anext(frames) == b"id: 1\nevent: kefu.ticket.noted\ndata: {}\n\n"
    assert await anext(frames) == b": still here\nid: 3\n\n"
    await frames.aclose()  # type: ignore[attr-defined]


async def test_a_stream_ends_rather_than_leave_out_what_was_cleaned_up_before_its_turn(db: Database) -> None:
    await _append(db, "shop", "shop", "shop")
    frames = _frames(db, 0)
    await anext(frames)
    await db.pool.execute("update feed set created_at = now() - interval '8 days' where id < 3")
    async with db.transaction() as tx:
        assert await feed.forget_old(tx, 10) == 2
    assert [frame async for frame in frames] == []
