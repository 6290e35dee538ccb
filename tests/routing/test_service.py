"""Routing as a whole, on a real Kafka and a real PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kefu_common.kafka import topics
from kefu_common.kafka.dead_letters import REASON
from tests.conftest import World
from tests.routing.service import Json, Routing, running, until

Connect = Callable[[str], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


@pytest.fixture
async def routing(world: World) -> AsyncIterator[Routing]:
    async with running(world) as service:
        yield service


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


async def test_the_seat_over_the_licence_is_refused_with_who_holds_them(routing: Routing) -> None:
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


async def test_the_loser_of_a_race_is_told(routing: Routing) -> None:
    await routing.set_up()
    answer = await routing.raw("GET", "/v1/sites/shop")
    etag = answer.headers["etag"]
    site = answer.json()
    await routing.call("PUT", "/v1/sites/shop", {**site, "name": "新名"}, If_Match=etag)
    await routing.call("PUT", "/v1/sites/shop", {**site, "name": "旧名"}, If_Match=etag, expect=412)
    assert (await routing.call("GET", "/v1/sites/shop"))["name"] == "新名"


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        ("/v1/groups", {"id": "g", "name": "g", "leader": "a09", "agents": ["a01"]}, ""),
        ("/v1/groups", {"id": "g", "name": "g", "agents": ["a01"]}, "leader"),
        ("/v1/groups", {"id": "g", "name": "g", "leader": "x", "agents": ["a01", "x"]}, "agents.1"),
        ("/v1/plans", {"id": "p", "site": "shop", "groups": []}, "groups"),
        ("/v1/plans", {"id": "p", "site": "moon", "groups": ["sales"]}, "site"),
        ("/v1/sites", {"id": "s", "name": "s", "calendar": "none"}, "calendar"),
        ("/v1/sites", {"id": "s", "name": "s", "time_zone": "Mars/Base"}, "time_zone"),
        ("/v1/sites", {"id": "s", "name": "s", "colour": "red"}, "colour"),
        ("/v1/keys", {"id": "k", "scopes": ["fly"]}, "scopes"),
        ("/v1/agents", {"id": "a 9", "name": "x"}, "id"),
    ],
)
async def test_a_wrong_directory_object_is_refused_with_the_path_of_the_fault(
    shared: Routing, path: str, body: Json, wrong: str
) -> None:
    # D-06, H-05
    refused = await shared.call("POST", path, body, expect=422)
    assert wrong in [e["path"] for e in refused["errors"]]


async def test_what_is_used_cannot_be_deleted_and_what_exists_not_made_again(shared: Routing) -> None:
    refused = await shared.call("DELETE", "/v1/groups/sales", expect=409)
    assert refused["used_by"] == ["plan/shop"]
    await shared.call("POST", "/v1/sites", {"id": "shop", "name": "网店"}, expect=409)
    await shared.call("POST", "/v1/calendars", {"id": "c", "name": "c"}, expect=201)
    await shared.call("DELETE", "/v1/calendars/c", expect=204)
    await shared.call("GET", "/v1/calendars/c", expect=404)
    await shared.call("POST", "/v1/calendars", {"id": "c", "name": "c"}, expect=201)


async def test_who_may_not_act_is_told_why(shared: Routing) -> None:
    assert (await shared.raw("POST", "/v1/agents/a01/sign-in", {})).status_code == 403
    assert (await shared.raw("POST", "/v1/agents/a01/sign-in", {}, agent="a02")).status_code == 403
    assert (await shared.raw("POST", "/v1/agents/a02/sign-in", {}, agent="a01")).status_code == 200
    assert (await shared.raw("POST", "/v1/agents/a01/sign-in", {}, agent="nobody")).status_code == 403
    nobody = await shared.http.get("/v1/tickets", headers={"Authorization": "Bearer x"})
    assert (nobody.status_code, nobody.headers["content-type"]) == (401, "application/problem+json")
    assert (await shared.raw("GET", "/v1/tickets?moon=1")).status_code == 422
    assert (await shared.raw("POST", "/v1/accounts", {"id": "b", "short_name": "b"})).status_code == 403


@pytest.fixture(scope="module")
async def shared(make_world: Callable[[], Awaitable[World]]) -> AsyncIterator[Routing]:
    """One service for tests that only ask or are refused."""
    async with running(await make_world()) as service:
        await service.set_up()
        yield service
