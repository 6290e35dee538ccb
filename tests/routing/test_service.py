"""Routing as a whole, on a real Kafka and a real PostgreSQL."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from kefu_common.events.interactions import ContactClaim
from kefu_common.events.words import Channel
from kefu_common.ids import new_id
from kefu_common.kafka import topics
from kefu_common.kafka.dead_letters import REASON
from kefu_common.kafka.dead_letters_cli import _replay
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Connection, Database
from kefu_common.postgres.writes import Writes
from kefu_common.settings import DatabaseSettings
from kefu_routing.domain.identity import ContactBook, keys_of
from kefu_routing.domain.model import Ticket
from kefu_routing.store import beginnings, contacts, queues
from tests.routing.service import WAITS_FOR_A_LOCK, Connect, Json, Routing, running, until


async def test_an_event_posted_again_takes_effect_once_and_another_body_is_set_aside(routing: Routing) -> None:
    await routing.set_up()
    at = datetime.now(UTC)
    await routing.tell("chat.started", "c1")
    for _ in range(3):
        await routing.tell("chat.message", "c1", id="m1", at=at, text="在吗")
    await routing.tell("chat.message", "c1", id="m1", at=at, text="换了内容")
    await routing.tell("chat.message", "c1", id="m2", at=at, text="谢谢")
    ticket = await routing.ticket("c1")

    async def said() -> list[str] | None:
        items = (await routing.call("GET", f"/v1/tickets/{ticket['id']}/messages"))["items"]
        return [m["text"] for m in items] if items and items[-1]["text"] == "谢谢" else None

    assert await until("both messages", said) == ["在吗", "谢谢"]
    (letter,) = await routing.read(topics.dead_letters_of("routing"), 1)
    assert dict(letter.headers)[REASON] == b"id_reused"
    # the adapter's author finds it under the adapter's name
    assert 'kefu_events_id_reused_total{adapter="pbx"} ' in (await routing.http.get("/metrics")).text
    assert "换了内容" in letter.value.decode()


async def test_an_event_that_cannot_be_read_goes_to_the_dead_letters_and_the_next_is_processed(
    routing: Routing,
) -> None:
    await routing.set_up()
    await routing.tell_raw("acme/c1", b"\xff not an event")
    await routing.tell("chat.started", "c1")
    assert (await routing.ticket("c1"))["status"] == "queued"
    (letter,) = await routing.read(topics.dead_letters_of("routing"), 1)
    assert (letter.value, letter.key) == (b"\xff not an event", b"acme/c1")
    assert dict(letter.headers)[REASON] == b"not_json"


async def test_what_comes_before_its_start_is_applied_with_the_start(routing: Routing, connect: Connect) -> None:
    await routing.set_up()
    await routing.tell("chat.message", "c1", text="先到的话")
    database = await connect("routing")

    async def kept() -> bool | None:
        return await database.fetchval("select count(*) = 1 from early_events") or None

    await until("the early message is kept", kept)
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1")
    messages = await routing.call("GET", f"/v1/tickets/{ticket['id']}/messages")
    assert [m["text"] for m in messages["items"]] == ["先到的话"]
    assert await database.fetchval("select count(*) from early_events") == 0
    await database.execute(
        "insert into early_events select gen_random_uuid(), 'acme', 'x', now(), now() - interval '25 hours',"
        " 'kefu.interactions.v1', 0, 1, 0, 'acme/x', 'v', '{}'"
    )
    await routing.process.timers.give_up_early_events()
    (letter,) = await routing.read(topics.dead_letters_of("routing"), 1)
    assert dict(letter.headers)[REASON] == b"no_start"


async def test_a_conversation_is_read_by_when_it_was_said_page_by_page(routing: Routing) -> None:
    await routing.set_up()
    said = datetime.now(UTC)
    await routing.tell("chat.started", "c1")
    for n in (2, 3, 1):
        await routing.tell("chat.message", "c1", at=said + timedelta(seconds=n), text=str(n))
    ticket = await routing.ticket("c1")
    path = f"/v1/tickets/{ticket['id']}/messages"

    async def all_there() -> bool | None:
        return len((await routing.call("GET", path))["items"]) == 3 or None

    await until("three messages", all_there)
    first = await routing.call("GET", f"{path}?limit=2")
    second = await routing.call("GET", f"{path}?limit=2&cursor={first['next']}")
    assert [m["text"] for m in first["items"] + second["items"]] == ["1", "2", "3"]
    assert second["next"] is None
    await routing.call("GET", f"{path}?cursor=bm90aGluZw==", expect=422)


async def test_ticket_events_are_published_in_order_and_without_gap(routing: Routing) -> None:
    await routing.set_up()
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1", "offered")
    path = f"/v1/tickets/{ticket['id']}"
    await routing.call("POST", f"/v1/offers/{ticket['offer']}/accept", {}, agent="a01")
    await routing.call("POST", f"{path}/reply", {"text": "您好"}, agent="a01")
    await routing.call("POST", f"{path}/resolve", {"text": "好", "code": "ok"}, agent="a01")
    records = await routing.read(topics.TICKETS, 6)
    events = [json.loads(r.value) for r in records]
    assert [e["sequence"] for e in events] == [1, 2, 3, 4, 5, 6]
    assert {r.key.decode() for r in records} == {ticket["id"]}


async def test_a_calls_offer_lapses_only_after_its_partition_was_read_up_to_its_end(routing: Routing) -> None:
    await routing.set_up(agents=1, offer_s={"call": 1})
    await routing.sign_in("a01")
    await routing.tell("call.started", "k1")
    ticket = await routing.ticket("k1", "offered")
    async with asyncio.timeout(20):
        await routing.process.interactions.stop()
    answered_at = datetime.now(UTC)

    async def over() -> bool | None:
        items = (await routing.call("GET", "/v1/agents/a01/offers"))["items"]
        assert items, "the offer lapsed though nobody knows what came on its partition"
        return datetime.fromisoformat(items[0]["expires_at"]) < datetime.now(UTC) - timedelta(seconds=1) or None

    await until("the offer's end is past", over)
    await routing.tell("call.answered", "k1", at=answered_at, agent="a01")
    async with running(routing.world) as again:
        again.admin = routing.admin
        taken = await again.ticket("k1", "active")
    assert (taken["id"], taken["handler"]) == (ticket["id"], "a01")


async def test_an_agents_hands_are_free_again_though_the_end_of_the_chat_was_set_aside(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.tell("call.started", "k1")
    await routing.ticket("k1", "offered")
    await routing.tell("call.answered", "k1", agent="a01")
    ticket = await routing.ticket("k1", "active")
    database = await connect("routing")
    await database.execute(
        'insert into set_aside_events (topic, partition, "offset", key, since)'
        " values ('kefu.interactions.v1', 0, 1, 'acme/k1', now() - interval '5 minutes')"
    )
    await routing.process.timers.free_hands()
    held = "select holder from tickets where interaction = 'k1'"
    assert await database.fetchval(held) == "a01"
    await database.execute("update set_aside_events set since = now() - interval '11 minutes'")
    await routing.process.timers.free_hands()
    assert await database.fetchval(held) is None
    assert (await routing.ticket("k1"))["handler"] == ticket["handler"] == "a01"


async def test_whoever_waits_longer_than_the_plan_allows_is_told_and_abandoned(routing: Routing) -> None:
    await routing.set_up(max_wait_s=1, texts={"offline": "请留言"})
    await routing.tell("chat.started", "c1")
    given_up = await routing.ticket("c1", "abandoned")
    assert given_up["reason"] == "max_wait"
    (refused,) = await routing.read(topics.OUTBOUND, 1)
    assert "请留言" in refused.value.decode()


async def test_an_agent_whose_client_vanished_is_away_and_the_offer_goes_to_a_colleague(routing: Routing) -> None:
    await routing.set_up(agents=2)
    await routing.sign_in("a01", lease_s=1)
    await routing.tell("chat.started", "c1")
    first = await routing.ticket("c1", "offered")
    await routing.sign_in("a02")

    async def moved() -> Json | None:
        items = (await routing.call("GET", "/v1/agents/a02/offers"))["items"]
        return items[0] if items else None

    assert (await until("the colleague's offer", moved))["ticket"] == first["id"]
    late = await routing.raw("POST", f"/v1/offers/{first['offer']}/accept", {}, agent="a01")
    assert late.status_code == 409
    told = [json.loads(r.value) for r in await routing.read(topics.AGENTS, 3)]
    changed = next(e for e in told if e["type"] == "kefu.agent.presence_changed")
    assert changed["data"] == {"agent": "a01", "state": "away", "cause": "lease"}
    heartbeat = await routing.call("POST", "/v1/agents/a01/heartbeat", {}, agent="a01")
    assert heartbeat["state"] == "away"
    await routing.sign_in("a01", lease_s=600)
    told = [json.loads(r.value) for r in await routing.read(topics.AGENTS, 4)]
    back = [e for e in told if e["subject"] == "a01"][-1]
    assert (back["type"], back["data"]["state"]) == ("kefu.agent.presence_changed", "available")
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "busy", "reason": "写总结"}, agent="a01")
    again = await routing.raw("POST", "/v1/agents/a01/sign-in", {}, agent="a01")
    assert (again.json()["state"], again.json()["reason"]) == ("busy", "写总结")


async def test_the_seat_over_the_licence_is_refused_with_who_holds_them(routing: Routing) -> None:
    """Guards `len(holders) >= licensed` in `api.agents.sign_in`."""
    # H-01
    await routing.set_up(agents=3, seats=2)
    await routing.sign_in("a01")
    await routing.sign_in("a02")
    answers = await asyncio.gather(
        *(routing.raw("POST", f"/v1/agents/{a}/sign-in", {}, agent=a) for a in ("a03", "a01", "a03"))
    )
    assert [a.status_code for a in answers] == [409, 200, 409]
    assert answers[0].json()["holders"] == ["a01", "a02"]
    await routing.call("POST", "/v1/agents/a01/sign-out", {}, agent="a01")
    await routing.sign_in("a03")


async def test_two_processes_never_give_one_ticket_to_two_agents_or_one_agent_too_much(routing: Routing) -> None:
    """Guards `strategies.Candidate.room_for`, and `_need_room` in `api.commands` for a ticket that is claimed."""
    await routing.set_up(agents=4)
    for n in range(1, 5):
        await routing.sign_in(f"a{n:02}")
    async with running(routing.world, slot="1") as second:
        second.admin = routing.admin
        await asyncio.gather(*(routing.tell("chat.started", f"c{n}") for n in range(30)))
        await routing.ticket("c29")
        listed: list[Json] = []

        async def all_there() -> bool | None:
            nonlocal listed
            listed = (await second.call("GET", "/v1/tickets?limit=100"))["items"]
            return sum(t["status"] == "offered" for t in listed) == 12 or None

        await until("12 of 30 are offered: 4 agents with room for 3 chats each", all_there)
        assert len(listed) == 30
        claims = await asyncio.gather(
            *(
                service.raw("POST", f"/v1/tickets/{t['id']}/claim", {}, agent=f"a0{n}")
                for n, service in ((1, routing), (2, second))
                for t in listed
                if t["status"] == "queued"
            )
        )
        assert {c.status_code for c in claims} == {409}


async def test_a_repeated_command_gives_the_first_answer_and_another_body_is_refused(routing: Routing) -> None:
    await routing.set_up()
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1", "offered")
    await routing.call("POST", f"/v1/offers/{ticket['offer']}/accept", {}, agent="a01")
    path, once = f"/v1/tickets/{ticket['id']}/reply", {"Idempotency_Key": "k1"}
    first = await routing.raw("POST", path, {"text": "您好"}, agent="a01", **once)
    again = await routing.raw("POST", path, {"text": "您好"}, agent="a01", **once)
    assert first.json() == again.json()
    other = await routing.call("POST", path, {"text": "再见"}, agent="a01", expect=422, **once)
    assert other["errors"][0]["path"] == "Idempotency-Key"
    messages = await routing.call("GET", f"/v1/tickets/{ticket['id']}/messages")
    assert len(messages["items"]) == 1


async def test_a_caller_is_not_hidden_behind_a_backlog_of_mails(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "break"}, agent="a01")
    await routing.tell("email.received", "m0", text="x", contact={"email": "w@example.com"})
    mail = await routing.ticket("m0", "queued")
    database = await connect("routing")
    await database.execute(
        "insert into tickets select (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),"
        " 'opened_at', t.opened_at - make_interval(secs => n)))).* from tickets t, generate_series(1, 800) n"
        " where t.id = $1",
        mail["id"],
    )
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "available"}, agent="a01")

    async def full() -> bool | None:
        return len((await routing.call("GET", "/v1/agents/a01/offers"))["items"]) == 5 or None

    await until("the agent has as many mails as they may", full)
    await routing.tell("call.started", "k1")
    assert (await routing.ticket("k1", "offered"))["channel"] == "call"
    assert (await routing.call("GET", "/v1/queues"))["items"][0]["waiting"] == 796
    first = await routing.call("GET", "/v1/agents/a01/offers?limit=4")
    second = await routing.call("GET", f"/v1/agents/a01/offers?limit=4&cursor={first['next']}")
    assert [len(first["items"]), len(second["items"]), second["next"]] == [4, 2, None]


async def test_a_reply_of_which_nothing_is_heard_in_time_failed(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1", "offered")
    await routing.call("POST", f"/v1/offers/{ticket['offer']}/accept", {}, agent="a01")
    path = f"/v1/tickets/{ticket['id']}"
    for text in ("一", "二"):
        await routing.call("POST", f"{path}/reply", {"text": text, "attachments": None}, agent="a01")
    database = await connect("routing")
    said = await database.fetch("select id from instructions where message is not null order by id")
    await routing.tell("instruction.delivered", "c1", instruction=str(said[0]["id"]))

    async def states() -> list[str]:
        return [m["state"] for m in (await routing.call("GET", f"{path}/messages"))["items"]]

    async def is_delivered() -> bool | None:
        return await states() == ["delivered", "pending"] or None

    await until("the first is delivered", is_delivered)
    await database.execute("update instructions set expires_at = now()")
    await routing.process.timers.give_up_on_outcomes()
    await routing.process.timers.give_up_on_outcomes()
    assert await states() == ["delivered", "failed"]
    history = await routing.call("GET", f"{path}/history")
    failed = [e["data"]["cause"] for e in history["items"] if e["type"] == "kefu.ticket.reply_failed"]
    assert failed == ["expired"]
    numbers = [e["sequence"] for e in history["items"]]
    assert numbers == sorted(numbers, reverse=True)
    await routing.tell("instruction.done", "c1", instruction=str(said[1]["id"]))

    async def is_sent_after_all() -> bool | None:
        return await states() == ["delivered", "sent"] or None

    await until("news that comes late still counts", is_sent_after_all)


async def test_an_outcome_of_what_nobody_asked_is_set_aside_and_can_be_judged_anew(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.tell("chat.started", "c1")
    event = await routing.tell("instruction.done", "c1", instruction=str(new_id()))
    (letter,) = await routing.read(topics.dead_letters_of("routing"), 1)
    assert dict(letter.headers)[REASON] == b"unknown_instruction"
    settings = DatabaseSettings(
        kafka=routing.world.kafka,
        topic_prefix=routing.world.prefix,
        postgres=SecretStr(routing.world.dsns["routing"]),
    )
    assert await _replay(settings, "routing", frozenset({"unknown_instruction"}), 1.0) == (1, 0)
    again = await routing.read(topics.dead_letters_of("routing"), 2)
    assert [json.loads(record.value)["id"] for record in again] == [str(event.id)] * 2


async def _save(tx: Connection, book: ContactBook) -> None:
    writes = Writes()
    contacts.add(writes, list(book.changed.values()), book.new_keys)
    await writes.run(tx)


async def test_the_same_contact_by_two_keys_is_changed_by_one_transaction_at_a_time(
    routing_dsn: str,
) -> None:
    db = Database(routing_dsn, 4, "test")
    await db.start()
    claim = ContactClaim(email="w@example.com", phone="13800138000", external_id="crm-1")
    now = datetime.now(UTC)
    try:
        async with db.transaction() as tx:
            book = await contacts.open_book(tx, keys_of("acme", claim), new_id)
            made = book.find_or_make("acme", claim, now)
            await _save(tx, book)

        async def another_names_them() -> None:
            by_phone = ContactClaim(phone="13800138000", tier="gold")
            async with db.transaction() as tx:
                book = await contacts.open_book(tx, [("acme", "phone", "13800138000")], new_id)
                book.find_or_make("acme", by_phone, now)
                await _save(tx, book)

        async with db.transaction() as tx:
            book = await contacts.open_book(tx, [("acme", "email", "w@example.com")], new_id)
            book.find_or_make("acme", ContactClaim(email="w@example.com", name="王芳"), now)
            other = asyncio.create_task(another_names_them())

            async def waits() -> bool | None:
                assert not other.done(), "it did not wait"
                return await db.pool.fetchval(WAITS_FOR_A_LOCK) or None

            await until("the other waits for the contact", waits)
            await _save(tx, book)
        await other
        kept = (await contacts.load(db.pool, [made.id]))[made.id]
        assert (kept.name, kept.tier) == ("王芳", "gold")
    finally:
        await db.stop()


async def test_a_contact_that_nobody_knows_yet_is_made_by_one_transaction_at_a_time(routing_dsn: str) -> None:
    """Fails without `LOCK_IDENTITIES` in `beginnings.READ`."""
    db, stranger = Database(routing_dsn, 4, "test"), keys_of("acme", ContactClaim(email="new@example.com"))
    await db.start()
    try:

        async def begin() -> None:
            async with db.transaction() as tx:
                await beginnings.read(tx, inbox.incoming([]), ["acme"], [], [], stranger)

        async with db.transaction() as tx:
            await beginnings.read(tx, inbox.incoming([]), ["acme"], [], [], stranger)
            other = asyncio.create_task(begin())

            async def waits() -> bool | None:
                assert not other.done(), "it did not wait"
                return await db.pool.fetchval(WAITS_FOR_A_LOCK) or None

            await until("the other waits for the identity", waits)
        await other
    finally:
        await db.stop()


async def test_what_was_refused_is_refused_again_for_the_same_idempotency_key(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1", "queued")
    path, once = f"/v1/tickets/{ticket['id']}/claim", {"Idempotency_Key": "k1"}
    first = await routing.raw("POST", path, {}, agent="a01", **once)
    assert (first.status_code, first.json()["detail"]) == (409, "agent a01 is not available")
    await routing.sign_in("a01")
    again = await routing.raw("POST", path, {}, agent="a01", **once)
    assert (again.status_code, again.json(), again.headers["content-type"]) == (
        409,
        first.json(),
        "application/problem+json",
    )


async def test_a_ticket_that_moves_while_its_queue_is_locked_is_not_offered_there(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=1)
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    mover, looker, watcher = await connect("routing"), await connect("routing"), await connect("routing")
    await looker.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    head = queues.Head(("acme", "sales"), Channel.CHAT, True, 50)
    async with mover.transaction():
        await mover.execute("update tickets set \"group\" = 'elsewhere' where interaction = 'c1'")

        async def look() -> list[Ticket]:
            async with looker.transaction():
                return await queues.lock_waiting(looker, [head], [], [head.group], datetime.now(UTC))

        looking = asyncio.create_task(look())
        waiting = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and pid = $1"

        async def waits() -> bool | None:
            assert not looking.done(), "it did not wait"
            return await watcher.fetchval(waiting, looker.get_server_pid()) or None

        await until("the look waits for the ticket", waits)
    assert await looking == []
