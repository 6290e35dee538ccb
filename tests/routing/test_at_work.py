"""Agents at work on a real service: missing offers, what comes next, after-call work, and clients that vanish."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from kefu_common.kafka import topics
from tests.routing.service import Connect, Json, Routing, until


async def presence(routing: Routing, agent: str, state: str | None) -> Json:
    """The agent's presence, once the state is that."""

    async def probe() -> Json | None:
        shown = await routing.call("POST", f"/v1/agents/{agent}/heartbeat", {}, agent=agent)
        return shown if shown["state"] == state else None

    return await until(f"{agent} is {state}", probe)


async def offered_to(routing: Routing, agent: str) -> Json:
    """The agent's first open offer, once there is one."""

    async def probe() -> Json | None:
        items: list[Json] = (await routing.call("GET", f"/v1/agents/{agent}/offers"))["items"]
        return items[0] if items else None

    return await until(f"an offer to {agent}", probe)


async def accepted(routing: Routing, interaction: str, agent: str) -> Json:
    """The interaction's ticket, in the hands of the agent to whom it was offered."""
    ticket = await routing.ticket(interaction, "offered")
    return await routing.call("POST", f"/v1/offers/{ticket['offer']}/accept", {}, agent=agent)


async def test_who_lets_an_offer_lapse_gets_nothing_until_they_do_something(routing: Routing) -> None:
    await routing.set_up(agents=2, offer_s={"chat": 1})
    await routing.sign_in("a01")
    await routing.tell("chat.started", "held")
    held = await accepted(routing, "held", "a01")
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "offered")
    missed = await presence(routing, "a01", "away")
    assert missed["reason"] == "missed"
    await routing.tell("chat.started", "c2")
    assert (await routing.ticket("c1", "queued"))["handler"] is None
    await routing.ticket("c2", "queued")

    reply = {"text": "我在"}
    await routing.call("POST", f"/v1/tickets/{held['id']}/reply", reply, agent="a01")
    await presence(routing, "a01", "available")
    assert (await offered_to(routing, "a01"))["agent"] == "a01"
    told = [json.loads(r.value)["data"] for r in await routing.read(topics.AGENTS, 3)]
    assert [(t["state"], t.get("cause")) for t in told[1:]] == [("away", "missed"), ("available", "act")]


async def test_a_break_comes_after_what_is_in_hand(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    ticket = await accepted(routing, "c1", "a01")
    wanted = {"state": "break", "reason": "午餐", "next": True}
    shown = await routing.call("PUT", "/v1/agents/a01/presence", wanted, agent="a01")
    assert (shown["state"], shown["next_state"], shown["next_reason"]) == ("available", "break", "午餐")
    await routing.tell("chat.started", "c2")
    await routing.ticket("c2", "queued")
    await routing.call("POST", f"/v1/tickets/{ticket['id']}/resolve", {}, agent="a01")
    shown = await presence(routing, "a01", "break")
    assert (shown["reason"], shown["next_state"]) == ("午餐", None)
    assert (await routing.ticket("c2"))["status"] == "queued"
    at_once = await routing.call("PUT", "/v1/agents/a01/presence", {"state": "busy", "next": True}, agent="a01")
    assert at_once["state"] == "busy"


async def test_a_call_is_followed_by_after_call_work_which_ends_by_itself(routing: Routing) -> None:
    await routing.set_up(agents=1, after_call_s=1)
    await routing.sign_in("a01")
    await routing.tell("call.started", "p1")
    await routing.ticket("p1", "offered")
    await routing.tell("call.answered", "p1", agent="a01")
    await routing.ticket("p1", "active")
    await routing.tell("chat.started", "c1")
    await routing.tell("call.ended", "p1")
    shown = await presence(routing, "a01", "after_call")
    assert shown["until"] is not None
    await presence(routing, "a01", "available")
    assert (await offered_to(routing, "a01"))["ticket"] == (await routing.ticket("c1"))["id"]
    told = [json.loads(r.value)["data"] for r in await routing.read(topics.AGENTS, 3)]
    assert [(t["state"], t.get("cause")) for t in told[1:]] == [("after_call", "after_call"), ("available", "time")]
    wrong = await routing.call("PUT", "/v1/agents/a01/presence", {"state": "break", "for_s": 5}, "a01", 422)
    assert "for_s" in wrong["errors"][0]["message"]


async def test_after_call_work_of_so_many_seconds_ends_by_itself_and_what_waits_is_offered_then(
    routing: Routing, connect: Connect
) -> None:
    """Guards `timers.end_states` and `presence.time_is_up`, and keeping `until` in `presence.set_state`."""
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "break"}, agent="a01")
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    asked_at = datetime.now(UTC)
    wanted = {"state": "after_call", "for_s": 1}
    shown = await routing.call("PUT", "/v1/agents/a01/presence", wanted, agent="a01")
    ends_at = datetime.fromisoformat(shown["until"])
    assert ends_at >= asked_at + timedelta(seconds=1)
    offer = (await routing.ticket("c1", "offered"))["offer"]
    database = await connect("routing")
    offered_at = await database.fetchval("select created_at from offers where id = $1::uuid", offer)
    # The timer looks twice a second, and its commit wakes the assigner.
    assert ends_at <= offered_at < ends_at + timedelta(seconds=1)
    ended = await presence(routing, "a01", "available")
    assert ended["until"] is None
    told = [json.loads(r.value)["data"] for r in await routing.read(topics.AGENTS, 4)]
    assert [(t["state"], t.get("cause")) for t in told[2:]] == [("after_call", "agent"), ("available", "time")]


async def test_what_an_agent_had_in_hand_when_their_client_vanished_is_flagged_and_reassigned(
    routing: Routing,
) -> None:
    await routing.set_up(agents=2, reassign_after_s=1)
    await routing.sign_in("a01", lease_s=600)
    await routing.tell("chat.started", "c1")
    ticket = await accepted(routing, "c1", "a01")
    await routing.call("POST", "/v1/agents/a01/sign-in", {"lease_s": 1}, agent="a01")

    async def flagged() -> Json | None:
        items: list[Json] = (await routing.call("GET", "/v1/tickets?unattended=true"))["items"]
        return items[0] if items else None

    assert (await until("it is flagged for the leader", flagged))["id"] == ticket["id"]
    assert (await routing.ticket("c1"))["handler"] == "a01"
    await routing.sign_in("a02")
    moved = await routing.ticket("c1", "offered")
    assert (await offered_to(routing, "a02"))["id"] == moved["offer"]
    assert (moved["handler"], moved["owner"], moved["unattended_since"]) == (None, "a01", None)
    history = (await routing.call("GET", f"/v1/tickets/{ticket['id']}/history"))["items"]
    happened = [h["type"].removeprefix("kefu.ticket.") for h in history]
    assert happened[:4] == ["offered", "queued", "transferred", "warned"]


async def test_a_leader_cannot_vouch_for_a_client_that_vanished(routing: Routing) -> None:
    """Guards `is_their_own` in `api.agents.set_presence`."""
    await routing.set_up(agents=2)
    await routing.sign_in("a02", lease_s=600)
    await routing.tell("chat.started", "c1")
    await accepted(routing, "c1", "a02")
    await routing.call("POST", "/v1/agents/a02/sign-in", {"lease_s": 1}, agent="a02")

    async def flagged() -> Json | None:
        shown = await routing.ticket("c1")
        return shown if shown["unattended_since"] else None

    before = await until("it is flagged", flagged)
    shown = await routing.call("PUT", "/v1/agents/a02/presence", {"state": "available"}, agent="a01")
    assert shown["state"] == "available"
    seen = [json.loads(r.value)["data"].get("cause") for r in await routing.read(topics.AGENTS, 4)]
    assert (seen[1], seen[3]) == ("lease", "lease")
    assert (await routing.ticket("c1"))["unattended_since"] == before["unattended_since"]


async def test_who_missed_an_offer_and_vanished_is_flagged_too(routing: Routing) -> None:
    """Guards the second half of `seats._LEASE_OVER`: whoever is away already can vanish."""
    await routing.set_up(agents=1, offer_s={"chat": 1})
    await routing.sign_in("a01", lease_s=600)
    await routing.tell("chat.started", "c1")
    ticket = await accepted(routing, "c1", "a01")
    await routing.call("POST", "/v1/agents/a01/sign-in", {"lease_s": 3}, agent="a01")
    await routing.tell("chat.started", "c2")
    await routing.ticket("c2", "offered")
    await routing.ticket("c2", "queued")
    assert (await routing.ticket("c1"))["unattended_since"] is None

    async def flagged() -> Json | None:
        items: list[Json] = (await routing.call("GET", "/v1/tickets?unattended=true"))["items"]
        return items[0] if items else None

    assert (await until("it is flagged for the leader", flagged))["id"] == ticket["id"]
    told = [json.loads(r.value)["data"].get("cause") for r in await routing.read(topics.AGENTS, 3)]
    assert told[-2:] == ["missed", "lease"]


async def test_who_comes_back_in_time_keeps_what_is_in_hand(routing: Routing) -> None:
    await routing.set_up(agents=2, reassign_after_s=600)
    await routing.sign_in("a01", lease_s=1)
    await routing.sign_in("a02")
    await routing.call("PUT", "/v1/agents/a02/presence", {"state": "break"}, agent="a02")
    await routing.tell("chat.started", "c1")
    ticket = await accepted(routing, "c1", "a01")

    async def flagged() -> Json | None:
        shown = await routing.ticket("c1")
        return shown if shown["unattended_since"] else None

    await until("it is flagged", flagged)
    await routing.call("POST", f"/v1/tickets/{ticket['id']}/note", {"text": "我回来了"}, agent="a01")
    back = await routing.ticket("c1", "active")
    assert (back["handler"], back["unattended_since"]) == ("a01", None)
    shown = await routing.call("POST", "/v1/agents/a01/heartbeat", {}, agent="a01")
    assert shown["state"] == "available"


async def test_whatever_an_agent_does_shows_that_they_are_there(routing: Routing) -> None:
    """Fails without `handlers.presence.act` in `api.me.change_me` or `api.visitors.invite`."""
    await routing.set_up(agents=1)
    await routing.sign_in("a01", lease_s=600)
    await routing.tell("chat.started", "c1")
    await accepted(routing, "c1", "a01")
    await routing.tell("visit.seen", "v1", page="/oven")

    async def visit() -> Json | None:
        items: list[Json] = (await routing.call("GET", "/v1/visits"))["items"]
        return items[0] if items else None

    async def vanished() -> Json | None:
        (shown,) = (await routing.call("GET", "/v1/presence"))["items"]
        return shown if shown["state"] == "away" else None

    invite = f"/v1/visits/{(await until('a visit', visit))['id']}/invite"
    for method, path, body in (
        ("PUT", "/v1/me", {"name": "王芳", "phone": "8001"}),
        ("POST", invite, {"text": "在吗？"}),
    ):
        await routing.call("POST", "/v1/agents/a01/sign-in", {"lease_s": 1}, agent="a01")
        assert (await until("the client vanishes", vanished))["reason"] == "lease"
        await routing.call(method, path, body, agent="a01")
        (shown,) = (await routing.call("GET", "/v1/presence"))["items"]
        assert (shown["state"], shown["lease_until"] is None) == ("available", False)
        assert (await routing.ticket("c1"))["unattended_since"] is None


async def test_a_leader_sees_what_everybody_does(routing: Routing) -> None:
    await routing.set_up(agents=3)
    await routing.sign_in("a01")
    await routing.sign_in("a02")
    await routing.call("PUT", "/v1/agents/a02/presence", {"state": "break", "reason": "午餐"}, agent="a02")
    await routing.tell("chat.started", "c1")
    await accepted(routing, "c1", "a01")

    async def listed(query: str) -> list[tuple[str, str | None, str | None, int]]:
        items = (await routing.call("GET", f"/v1/presence{query}"))["items"]
        return [(i["agent"], i["state"], i["reason"], i["held"]["chat"]) for i in items]

    everybody = [("a01", "available", None, 1), ("a02", "break", "午餐", 0), ("a03", None, None, 0)]
    assert await listed("") == await listed("?group=sales") == everybody
    assert await listed("?state=signed_out") == everybody[2:]
    assert await listed("?state=break&group=sales") == everybody[1:2]
    first = await routing.call("GET", "/v1/presence?limit=2")
    assert [i["agent"] for i in first["items"]] == ["a01", "a02"]
    assert await listed(f"?limit=2&cursor={first['next']}") == everybody[2:]
    wrong = await routing.call("GET", "/v1/presence?group=nobody", expect=422)
    assert wrong["errors"] == [{"path": "group", "message": "there is no group nobody"}]


async def test_a_ticket_overflows_to_another_group_whose_agent_takes_it_there(routing: Routing) -> None:
    steps: list[Json] = [{"after_s": 1, "widen_to": ["help"]}]
    await routing.set_up(agents=2)
    help_ = {"id": "help", "name": "支援", "leader": "a02", "agents": ["a02"], "sources": ["*"], "tiers": ["*"]}
    await routing.call("POST", "/v1/groups", help_, expect=201)
    sales = await routing.call("GET", "/v1/groups/sales")
    await routing.call("PUT", "/v1/groups/sales", {**sales, "agents": ["a01"]})
    plan = {"id": "shop", "site": "shop", "groups": ["sales"], "overflow": steps}
    await routing.call("PUT", "/v1/plans/shop", plan)
    await routing.sign_in("a02")
    await routing.tell("chat.started", "c1")
    waiting = await routing.ticket("c1", "queued")
    assert waiting["group"] == "sales"
    taken = await accepted(routing, "c1", "a02")
    assert (taken["handler"], taken["group"]) == ("a02", "help")
    history = (await routing.call("GET", f"/v1/tickets/{taken['id']}/history"))["items"]
    step = next(h["why"] for h in history if (h["why"] or {}).get("step") == 1)
    assert step["widen_to"] == ["help"]


async def test_who_returns_is_offered_to_the_agent_who_served_them_last(routing: Routing, connect: Connect) -> None:
    # H-07
    await routing.set_up(agents=3, prefer_last_agent={"wait_s": 600})
    contact: Json = {"external_id": "crm-7"}
    await routing.sign_in("a02")
    await routing.tell("chat.started", "c1", contact=contact)
    first = await accepted(routing, "c1", "a02")
    await routing.call("POST", f"/v1/tickets/{first['id']}/resolve", {}, agent="a02")
    for agent in ("a01", "a03"):
        await routing.sign_in(agent)
    await routing.tell("chat.started", "c2", contact=contact)
    await routing.ticket("c2", "offered")
    assert (await offered_to(routing, "a02"))["ticket"] == (await routing.ticket("c2"))["id"]
    # While that one is busy the contact waits; for one who is not there they do not.
    await routing.call("PUT", "/v1/agents/a02/presence", {"state": "busy"}, agent="a02")
    await routing.tell("chat.started", "c3", contact={"external_id": "crm-7"})
    await routing.ticket("c3", "queued")
    await routing.call("POST", "/v1/agents/a02/sign-out", {}, agent="a02")
    database = await connect("routing")
    other = await routing.ticket("c3", "offered")
    offer: Any = await database.fetchval("select agent from offers where id = $1::uuid", other["offer"])
    assert offer in ("a01", "a03")


async def test_a_plan_may_say_that_nothing_joins_and_a_wrong_join_can_be_undone(routing: Routing) -> None:
    await routing.set_up(agents=1)
    contact: Json = {"email": "wang@example.com"}
    await routing.tell("email.received", "m1", text="烤箱坏了", contact=contact)
    await routing.tell("email.received", "m2", text="发票呢", contact=contact)
    joined = await routing.ticket("m2")
    assert joined["id"] == (await routing.ticket("m1"))["id"]

    async def both() -> bool | None:
        found = await routing.call("GET", f"/v1/tickets/{joined['id']}/messages")
        return len(found["items"]) == 2 or None

    await until("both mails are there", both)
    path = f"/v1/tickets/{joined['id']}/unmerge"
    assert (await routing.raw("POST", path, {"interaction": "m1"}, agent="a01")).status_code == 409
    wrong = await routing.call("POST", path, {"interaction": "m9"}, agent="a01", expect=422)
    assert wrong["errors"][0]["path"] == "interaction"
    own = await routing.call("POST", path, {"interaction": "m2"}, agent="a01", Idempotency_Key="k")
    assert await routing.call("POST", path, {"interaction": "m2"}, agent="a01", Idempotency_Key="k") == own
    assert own["id"] != joined["id"]
    texts = [
        [m["text"] for m in (await routing.call("GET", f"/v1/tickets/{id}/messages"))["items"]]
        for id in (joined["id"], own["id"])
    ]
    assert texts == [["烤箱坏了"], ["发票呢"]]
    await routing.tell("email.received", "m2", text="还没收到发票", id="more", contact=contact)
    await routing.sign_in("a01")
    assert (await routing.ticket("m2", "offered"))["id"] == own["id"]
    history = (await routing.call("GET", f"/v1/tickets/{joined['id']}/history"))["items"]
    assert [h["data"]["other"] for h in history if h["type"] == "kefu.ticket.unmerged"] == [own["id"]]

    plan = {"id": "shop", "site": "shop", "groups": ["sales"], "joins": []}
    await routing.call("PUT", "/v1/plans/shop", plan)
    await routing.tell("email.received", "m3", text="另一件事", contact=contact)
    assert (await routing.ticket("m3"))["id"] not in (joined["id"], own["id"])
    await routing.call("PUT", "/v1/plans/shop", {**plan, "joins": ["chat"]}, expect=422)


async def test_nothing_waits_longer_than_a_second_though_nobody_was_told_that_an_agent_is_free(
    routing: Routing, connect: Connect
) -> None:
    """Guards `Assigner._look`: whatever wakes nobody, such as a process that dies behind its commit, is found."""
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "break"}, agent="a01")
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    database = await connect("routing")
    freed_at = await database.fetchval("update seats set state = 'available' returning clock_timestamp()")
    offer = await routing.ticket("c1", "offered")
    made = await database.fetchrow("select agent, created_at from offers where id = $1::uuid", offer["offer"])
    assert made is not None
    assert (made["created_at"] - freed_at).total_seconds() < 1


async def test_whoever_accepts_too_late_is_there_again(routing: Routing) -> None:
    await routing.set_up(agents=1, offer_s={"chat": 1})
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    offer = (await routing.ticket("c1", "offered"))["offer"]
    await presence(routing, "a01", "away")
    late = await routing.raw("POST", f"/v1/offers/{offer}/accept", {}, agent="a01")
    assert late.status_code == 409
    await presence(routing, "a01", "available")
    await routing.tell("chat.started", "c2")
    await presence(routing, "a01", "away")
    for _ in range(2):
        late = await routing.raw("POST", f"/v1/offers/{offer}/accept", {}, agent="a01", Idempotency_Key="k")
        assert late.status_code == 409
    await presence(routing, "a01", "available")


async def test_what_ran_out_while_routing_itself_was_away_was_missed_by_nobody(
    routing: Routing, connect: Connect
) -> None:
    """Guards `timers.BLAMED_WITHIN`."""
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "offered")
    database = await connect("routing")
    await database.execute("update offers set expires_at = now() - interval '6 seconds' where status = 'open'")

    async def lapsed() -> bool | None:
        return await database.fetchval("select status = 'lapsed' from offers order by id limit 1") or None

    await until("the offer lapses", lapsed)
    shown = await routing.call("POST", "/v1/agents/a01/heartbeat", {}, agent="a01")
    assert shown["state"] == "available"
