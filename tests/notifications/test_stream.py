"""`GET /v1/stream`: order, marks, what each reader may see, and what survives."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kefu_common.events.outbound import ChatInvite
from kefu_common.events.words import Channel
from kefu_common.ids import new_id
from kefu_common.postgres.database import Database
from kefu_notifications.handlers import janitor
from kefu_notifications.store import feed
from kefu_notifications.store.feed import FeedEvent
from tests.conftest import World
from tests.notifications.stack import Frame, Stack, a_ticket_event, an_event, an_instruction, until


def texts(frames: list[Frame]) -> list[str]:
    return [frame.data["data"]["text"] for frame in frames if frame.data is not None]


def sequences(frames: list[Frame]) -> list[int]:
    return [frame.data["sequence"] for frame in frames if frame.data is not None]


async def test_a_stream_gives_what_comes_after_its_start_and_resumes_without_gap_or_repeat(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "web", ["outbound:read", "chats:write"], adapter="web")
    await shared.say(an_instruction(company.id, "before"))
    async with shared.stream(company.auth, "tickets") as probe:
        await probe.started()
    first = an_instruction(company.id, "一")

    async def all_before_is_there() -> bool:
        async with shared.stream(key, "outbound", mark=0) as reader:
            return texts(await reader.take(1)) == ["before"]

    await until(all_before_is_there)
    async with shared.stream(key, "outbound") as reader:
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        await reader.started()
        await shared.say(first, an_instruction(company.id, "二"))
        frames = await reader.take(2)
        assert texts(frames) == ["一", "二"]
        assert frames[0].event == "kefu.chat.say"
        assert frames[0].data == json.loads(first.to_bytes())
    await shared.say(an_instruction(company.id, "三"))
    async with shared.stream(key, "outbound", mark=frames[0].id) as reader:
        assert texts(await reader.take(2)) == ["二", "三"]


async def test_the_first_mark_resumes_even_when_nothing_was_given(shared: Stack) -> None:
    company = await shared.a_company()
    async with shared.stream(company.auth, "tickets") as reader:
        mark = await reader.started()
    ticket = new_id()
    await shared.happen(a_ticket_event(company.id, ticket, 1))
    async with shared.stream(company.auth, "tickets", mark=mark) as reader:
        assert sequences(await reader.take(1)) == [1]


async def test_an_invitation_which_is_about_no_ticket_reaches_the_adapter_of_the_visit(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "web", ["outbound:read", "visits:write"], adapter="web")
    other = await shared.a_key(company, "app", ["outbound:read", "visits:write"], adapter="app")
    invitation = new_id()
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    data = ChatInvite(channel=Channel.CHAT, expires_at=expires_at, text="您好", invitation=invitation, agent="a01")
    async with shared.stream(key, "outbound") as reader, shared.stream(other, "outbound") as stranger:
        await reader.started()
        await stranger.started()
        await shared.say(an_event("kefu.chat.invite", company.id, "visit-1", data, adapter="web"))
        await shared.say(an_instruction(company.id, "later", adapter="app"))
        (frame,) = await reader.take(1)
        assert texts(await stranger.take(1)) == ["later"]
    assert frame.data is not None
    assert (frame.event, frame.data["subject"], frame.data["data"]["invitation"]) == (
        "kefu.chat.invite",
        "visit-1",
        str(invitation),
    )


async def test_many_events_reach_every_reader_in_order(shared: Stack) -> None:
    company = await shared.a_company()
    ticket = new_id()
    async with shared.stream(company.auth, "tickets") as one, shared.stream(company.auth, "tickets") as two:
        await one.started()
        await two.started()
        await shared.happen(*(a_ticket_event(company.id, ticket, n) for n in range(1, 501)))
        for reader in (one, two):
            assert sequences(await reader.take(500, 30)) == list(range(1, 501))


async def test_a_gap_holds_a_tickets_later_events_until_it_is_filled(shared: Stack) -> None:
    company = await shared.a_company()
    gap, whole = new_id(), new_id()
    async with shared.stream(company.auth, "tickets") as reader:
        await reader.started()
        missing = a_ticket_event(company.id, gap, 2)
        await shared.happen(*(a_ticket_event(company.id, gap, n) for n in (1, 3, 4)))
        await shared.happen(a_ticket_event(company.id, whole, 1), a_ticket_event(company.id, whole, 2))
        seen = await reader.take(3)
        assert sequences([f for f in seen if f.data and f.data["subject"] == str(gap)]) == [1]
        assert sequences([f for f in seen if f.data and f.data["subject"] == str(whole)]) == [1, 2]
        await shared.happen(missing, a_ticket_event(company.id, gap, 1), a_ticket_event(company.id, gap, 5))
        assert sequences(await reader.take(4)) == [2, 3, 4, 5]


async def test_the_outbound_feed_gives_an_adapter_its_own_and_nobodys_of_its_sites_and_channels(shared: Stack) -> None:
    company = await shared.a_company()
    web = await shared.a_key(company, "web", ["outbound:read", "chats:write"], adapter="web", sites=["shop"])
    calls = await shared.a_key(company, "pbx", ["outbound:read", "calls:write"], adapter="pbx", sites=["shop"])
    async with (
        shared.stream(web, "outbound") as of_web,
        shared.stream(calls, "outbound") as of_calls,
        shared.stream(company.auth, "outbound") as of_admin,
    ):
        for reader in (of_web, of_calls, of_admin):
            await reader.started()
        await shared.say(
            an_instruction(company.id, "of pbx", adapter="pbx"),
            an_instruction(company.id, "of nobody at night", adapter=None, site="night"),
            an_instruction(company.id, "of nobody", adapter=None),
            an_instruction(company.id, "of web", adapter="web"),
            an_instruction(company.id, "last of pbx", adapter="pbx"),
        )
        assert texts(await of_web.take(2)) == ["of nobody", "of web"]
        assert texts(await of_calls.take(2)) == ["of pbx", "last of pbx"]
        assert texts(await of_admin.take(2)) == ["of nobody at night", "of nobody"]


async def test_an_instruction_is_not_given_after_it_expired(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "web", ["outbound:read"], adapter="web")
    async with shared.stream(key, "outbound") as reader:
        await reader.started()
        await shared.say(an_instruction(company.id, "too late", lasts_s=-1), an_instruction(company.id, "in time"))
        assert texts(await reader.take(1)) == ["in time"]


async def test_the_tickets_feed_keeps_to_the_account_and_to_the_keys_sites(shared: Stack) -> None:
    company, other = await shared.a_company(), await shared.a_company()
    night = await shared.a_key(company, "night", ["tickets:read"], sites=["night"])
    async with shared.stream(other.auth, "tickets") as strange, shared.stream(night, "tickets") as of_night:
        await strange.started()
        await of_night.started()
        await shared.happen(a_ticket_event(company.id, new_id(), 1), a_ticket_event(company.id, new_id(), 1, "night"))
        (frame,) = await of_night.take(1)
        assert frame.data is not None
        assert frame.data["source"] == "/sites/night"
        await shared.happen(a_ticket_event(other.id, new_id(), 1))
        (frame,) = await strange.take(1)
        assert frame.data is not None
        assert frame.data["account"] == other.id


@pytest.mark.parametrize(("mark", "status"), [("x", 422), ("-1", 422), ("1e3", 422), ("9" * 30, 422), ("9" * 18, 410)])
async def test_marks_that_were_never_given_are_refused(shared: Stack, mark: str, status: int) -> None:
    company = await shared.a_company()
    async with shared.stream(company.auth, "tickets", mark=mark) as reader:
        assert reader.answer.status_code == status


async def test_a_mark_that_is_no_longer_held_is_gone(shared: Stack) -> None:
    company, quiet = await shared.a_company(), await shared.a_company()
    async with shared.stream(company.auth, "tickets") as reader, shared.stream(quiet.auth, "tickets") as other:
        start, of_quiet = await reader.started(), await other.started()
        ticket = new_id()
        await shared.happen(*(a_ticket_event(company.id, ticket, n) for n in (1, 2, 3)))
        frames = await reader.take(3)
    connection = await asyncpg.connect(shared.world.dsns["notifications"])
    try:
        await connection.execute(
            "update feed set created_at = now() - interval '8 days' where id = any($1::bigint[])",
            [int(frame.id or 0) for frame in frames[:2]],
        )
        await clean_up(shared)
    finally:
        await connection.close()
    for mark, status in ((start, 410), (frames[0].id, 410), (frames[1].id, 200), (frames[2].id, 200)):
        async with shared.stream(company.auth, "tickets", mark=mark) as reader:
            assert reader.answer.status_code == status, mark
    async with shared.stream(quiet.auth, "tickets", mark=of_quiet) as reader:
        assert reader.answer.status_code == 200
    async with shared.stream(company.auth, "tickets", mark=frames[1].id) as reader:
        assert sequences(await reader.take(1)) == [3]


async def clean_up(stack: Stack) -> None:
    db = Database(stack.world.dsns["notifications"], 2, "test")
    await db.start()
    try:
        await janitor.clean_up(db)
    finally:
        await db.stop()


async def test_a_revoked_key_ends_its_stream(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "web", ["tickets:read"])
    async with shared.stream(key, "tickets") as reader:
        await reader.started()
        await shared.directory(company.id, "key", "web", None)
        assert await reader.frame(5) is None


async def test_a_stop_ends_streams_at_once_and_a_restart_resumes_them(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    ticket = new_id()
    async with stack.stream(company.auth, "tickets") as reader:
        await reader.started()
        await stack.happen(a_ticket_event(company.id, ticket, 1))
        (frame,) = await reader.take(1)
        stopping = asyncio.create_task(stack.process.stop())
        assert await reader.frame(3) is None
    assert await stopping == 0
    await stack.happen(a_ticket_event(company.id, ticket, 2))
    await stack.process.start()
    async with stack.stream(company.auth, "tickets", mark=frame.id) as reader:
        assert sequences(await reader.take(1)) == [2]


async def test_a_stream_stays_through_lost_database_connections(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    ticket = new_id()
    admin = await asyncpg.connect(stack.world.admin_dsn)
    try:
        async with stack.stream(company.auth, "tickets") as reader:
            await reader.started()
            for n in range(1, 31):
                await admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
                    stack.world.prefix.removesuffix("."),
                )
                await stack.happen(a_ticket_event(company.id, ticket, n))
                assert sequences(await reader.take(1)) == [n]
    finally:
        await admin.close()


async def test_a_writer_gets_its_marks_only_when_the_writer_before_has_committed(world: World) -> None:
    db = Database(world.dsns["notifications"], 4, "test")
    await db.start()
    event = FeedEvent("tickets", "a", "shop", "chat", None, "t", "kefu.ticket.queued", "{}")

    async def second() -> None:
        async with db.transaction() as tx:
            await feed.append(tx, [event])

    async def second_waits() -> bool:
        assert not writing.done(), "the second writer did not wait"
        found: int = await db.pool.fetchval(
            "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()"
        )
        return found == 1

    try:
        async with db.transaction() as tx:
            await feed.append(tx, [event])
            writing = asyncio.create_task(second())
            await until(second_waits)
            assert await feed.highest(db.pool) == 0
        await writing
        assert await feed.highest(db.pool) == 2
    finally:
        await db.stop()


async def test_marks_are_in_commit_order_when_writers_race(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    tickets = [new_id() for _ in range(30)]
    async with stack.stream(company.auth, "tickets") as reader, stack.stream(company.auth, "outbound") as other:
        await reader.started()
        await other.started()
        for n in range(1, 11):
            await asyncio.gather(
                *(stack.happen(a_ticket_event(company.id, ticket, n)) for ticket in tickets),
                *(stack.say(an_instruction(company.id, f"{n}", adapter=None)) for _ in range(5)),
            )
        frames = await reader.take(300, 30)
        assert len(texts(await other.take(50, 30))) == 50
    seen = [(frame.data["subject"], frame.data["sequence"]) for frame in frames if frame.data]
    assert len(set(seen)) == 300
    for ticket in tickets:
        assert [s for subject, s in seen if subject == str(ticket)] == list(range(1, 11))
