"""What visitors are told: their place, whether anybody is there, and invitations (H-11, O-01, O-05, D-01)."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from kefu_common.kafka import topics
from kefu_routing.store import places, queues
from tests.routing.service import Connect, Json, Routing, until

RULE = {"id": "hello", "text": "需要帮忙吗？", "page": "/oven*"}


async def instructions(routing: Routing, count: int) -> list[tuple[str, str, Any]]:
    """The first so many: interaction, type and data."""
    events = [json.loads(record.value) for record in await routing.read(topics.OUTBOUND, count)]
    return [(e["subject"], e["type"].removeprefix("kefu."), e["data"]) for e in events]


async def an_invitation(routing: Routing, connect: Connect, interaction: str, state: str) -> Json:
    """The visitor's row, once it has this state."""
    database = await connect("routing")

    async def probe() -> Json | None:
        row = await database.fetchrow("select * from invitations where interaction = $1", interaction)
        return dict(row) if row is not None and row["state"] == state else None

    return await until(f"{interaction} is {state}", probe)


async def a_visit(routing: Routing, interaction: str) -> Json:
    async def probe() -> Json | None:
        items = (await routing.call("GET", "/v1/visits?site=shop"))["items"]
        return next((v for v in items if v["interaction"] == interaction), None)

    return await until(f"a visit of {interaction}", probe)


async def test_everybody_who_waits_is_told_their_place_once_and_again_when_it_changed(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(texts={"waiting": "您是第{position}位，约{minutes}分钟"})
    for interaction in ("c1", "c2"):
        await routing.tell("chat.started", interaction)
        await routing.ticket(interaction, "queued")
    await routing.tell("call.started", "k1")
    await routing.ticket("k1", "queued")
    database, news = await connect("routing"), routing.process.queue_news
    await database.execute("update tickets set ready_at = ready_at - interval '20 seconds'")
    # as several processes would: each ticket is told by one
    await asyncio.gather(*(news.tell_places() for _ in range(3)))
    await news.tell_places()
    await routing.tell("chat.ended", "c1")
    await routing.ticket("c1", "abandoned")
    await news.tell_places()
    assert await database.fetchval("select array_agg(distinct position order by position) from places_told") == [1, 2]
    await database.execute("update places_told set told_at = told_at - interval '6 seconds'")
    await news.tell_places()
    told = await instructions(routing, 6)
    assert [(i, t, d.get("text"), d.get("position")) for i, t, d in told if i == "c1"] == [
        ("c1", "chat.say", "您是第1位，约几分钟", None),
        ("c1", "chat.position", None, 1),
    ]
    assert [(t, d.get("text"), d.get("position")) for i, t, d in told if i == "c2"] == [
        ("chat.say", "您是第2位，约几分钟", None),
        ("chat.position", None, 2),
        ("chat.position", None, 1),
    ]
    assert [(t, d["text"]) for i, t, d in told if i == "k1"] == [("call.play", "您是第1位，约几分钟")]
    said = (await routing.call("GET", f"/v1/tickets/{(await routing.ticket('c2'))['id']}/messages"))["items"]
    assert [m["text"] for m in said] == ["您是第2位，约几分钟"]


async def test_whoever_is_offered_at_once_is_not_told_to_wait(routing: Routing, connect: Connect) -> None:
    await routing.set_up(texts={"waiting": "请稍候"})
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    database, soon = await connect("routing"), datetime.now(UTC) + timedelta(hours=1)
    await database.execute("update tickets set ready_at = $1", soon)
    assert await places.changed(database, soon + timedelta(seconds=1.9), 10) == {}
    (place,) = (await places.changed(database, soon + timedelta(seconds=2), 10)).values()
    assert place.position == 1


async def test_a_site_says_whether_somebody_is_there_and_how_long_one_waits(routing: Routing, connect: Connect) -> None:
    icons = {"online": "/on.png", "offline": "/off.png"}
    await routing.set_up(agents=1, icons=icons, texts={"offline": "请留言", "after_hours": "下班了"})
    path, database = "/v1/sites/shop/availability", await connect("routing")
    offline = {"open": True, "online": False, "name": "网店", "icon": "/off.png", "text": "请留言"}
    assert await routing.call("GET", path) == offline | {"queue": 0, "estimated_wait_s": None}
    await routing.sign_in("a01")
    online = {"open": True, "online": True, "name": "网店", "icon": "/on.png", "text": None}
    assert await routing.call("GET", path) == online | {"queue": 0, "estimated_wait_s": 0.0}
    # Who is busy for a while comes back; who is on a break may not for long.
    for state, is_there in (("busy", True), ("after_call", True), ("break", False), ("available", True)):
        await routing.call("PUT", "/v1/agents/a01/presence", {"state": state}, agent="a01")
        assert (await routing.call("GET", path))["online"] is is_there
    for n in range(3):
        await routing.tell("chat.started", f"c{n}")
        await routing.ticket(f"c{n}", "offered")
    # nobody waits, but everybody is busy; and whether that is long, nobody knows yet
    await routing.tell("call.started", "k1")
    await routing.ticket("k1", "offered")
    assert await routing.call("GET", path) == online | {"queue": 0, "estimated_wait_s": None}
    await database.execute("update tickets set answered_at = now() where channel = 'chat'")
    assert (await routing.call("GET", path))["estimated_wait_s"] == 300.0
    (waiting,) = (await routing.call("GET", "/v1/queues"))["items"]
    assert waiting == {"group": "sales", "waiting": 0, "oldest_wait_s": 0.0, "estimated_wait_s": 300.0}
    await routing.call("POST", "/v1/calendars", {"id": "never", "name": "从不", "weekly": []}, expect=201)
    await routing.call("PUT", "/v1/sites/shop", {"id": "shop", "name": "网店", "calendar": "never"})
    closed = offline | {"open": False, "text": "下班了", "queue": 0, "estimated_wait_s": None}
    assert await routing.call("GET", path) == closed


async def test_what_is_left_while_the_site_is_closed_waits_for_the_first_open_minute_and_is_spread_over_agents(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=2, texts={"offline": "请留言"})
    opens = datetime.now(UTC) + timedelta(days=1)
    window = {"days": [opens.isoweekday()], "start": f"{opens:%H:00}", "end": "00:00"}
    hours = {"id": "office", "name": "办公", "weekly": [window]}
    await routing.call("POST", "/v1/calendars", hours, expect=201)
    await routing.call(
        "PUT", "/v1/sites/shop", {"id": "shop", "name": "网店", "calendar": "office", "time_zone": "UTC"}
    )
    for agent in ("a01", "a02"):
        await routing.sign_in(agent)
    assert (await routing.call("GET", "/v1/sites/shop/availability"))["text"] == "请留言"
    await routing.tell("chat.started", "c1")
    assert (await routing.ticket("c1"))["reason"] == "closed"
    for n in range(4):
        contact = {"phone": f"1380013800{n}"}
        await routing.tell("message.left", f"m{n}", text="请回电", contact=contact)
        await routing.ticket(f"m{n}", "queued")
    database = await connect("routing")
    ready = await database.fetch("select distinct ready_at from tickets where channel = 'message'")
    assert [r["ready_at"] for r in ready] == [opens.replace(minute=0, second=0, microsecond=0)]
    # it opens
    always = {"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"}
    await routing.call("PUT", "/v1/calendars/office", hours | {"weekly": [always]})
    for n in range(4):
        await routing.ticket(f"m{n}", "offered")
    held = await database.fetch(
        "select holder, count(*) as n from tickets where holder is not null group by 1 order by 1"
    )
    assert [tuple(r) for r in held] == [("a01", 2), ("a02", 2)]


async def test_what_waits_when_its_site_closes_waits_for_it_to_open_and_does_not_age(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up()
    always = {"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"}
    office = {"id": "office", "name": "办公", "weekly": [always]}
    await routing.call("POST", "/v1/calendars", office, expect=201)
    await routing.call("PUT", "/v1/sites/shop", {"id": "shop", "name": "网店", "calendar": "office"})
    await routing.tell("email.received", "e1", text="?", contact={"email": "w@example.com"})
    await routing.tell("chat.started", "c1")
    for interaction in ("e1", "c1"):
        await routing.ticket(interaction, "queued")
    database = await connect("routing")

    async def mail() -> asyncpg.Record:
        found = await database.fetchrow(
            "select ready_at, came_at, turn_at - came_at as ahead, queued_at from tickets where interaction = 'e1'"
        )
        assert found is not None
        return found

    before = await mail()
    await routing.call("PUT", "/v1/calendars/office", office | {"weekly": []})
    await routing.process.timers.hold_what_is_closed()
    held = await mail()
    closed = held["ready_at"] - datetime.now(UTC)
    assert timedelta(days=399) < closed < timedelta(days=401)
    assert held["came_at"] - before["came_at"] == held["queued_at"] - before["queued_at"] > timedelta(days=399)
    assert held["ahead"] == before["ahead"]
    assert (await routing.call("GET", "/v1/queues"))["items"][0]["waiting"] == 1
    await routing.call("PUT", "/v1/calendars/office", office)
    again = await mail()
    # It was closed for as long as these requests took.
    assert timedelta(0) < again["came_at"] - before["came_at"] < timedelta(minutes=1)
    assert again["ready_at"] <= datetime.now(UTC)
    assert (again["ahead"], again["queued_at"] - again["came_at"]) == (
        before["ahead"],
        before["queued_at"] - before["came_at"],
    )
    await routing.sign_in("a01")
    await routing.ticket("e1", "offered")


async def test_what_is_held_though_its_site_is_open_is_let_go_and_hinders_no_group_until_then(
    routing: Routing, connect: Connect
) -> None:
    """Fails without `open_anew` in `Timers.hold_what_is_closed`, or `ready_at` in `queues.shared`."""
    await routing.set_up()
    await routing.tell("email.received", "e1", text="?", contact={"email": "w@example.com"})
    await routing.ticket("e1", "queued")
    database = await connect("routing")
    # as by a process that read the calendar before it was changed; and it has overflowed
    await database.execute("update tickets set ready_at = now() + interval '3 days', wider = '{care}'")
    assert await queues.shared(database, [("acme", "sales")]) == ([], True)
    await routing.process.timers.hold_what_is_closed()
    assert await database.fetchval("select ready_at <= now() from tickets")
    (shared,) = (await queues.shared(database, [("acme", "sales")]))[0]
    assert shared.places == {("acme", "sales"), ("acme", "care")}


async def test_a_rule_invites_a_visitor_once_and_the_chat_that_follows_accepts(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(invitations=[RULE | {"after_s": 3600}])
    await routing.sign_in("a01")
    await routing.tell("visit.seen", "v1", page="/oven/2", contact={"external_id": "crm-1"})
    await an_invitation(routing, connect, "v1", "watched")
    database = await connect("routing")
    earlier = "seen_at = seen_at - interval '1 hour', due_at = due_at - interval '1 hour'"
    await database.execute(f"update invitations set {earlier}")
    await asyncio.gather(*(routing.process.inviting.invite_due() for _ in range(3)))
    invited = await an_invitation(routing, connect, "v1", "invited")
    await routing.tell("visit.seen", "v1", page="/oven/3")
    await routing.tell("instruction.delivered", "v1", instruction=str(invited["invitation"]))
    await routing.tell("chat.started", "v1")
    await an_invitation(routing, connect, "v1", "accepted")
    ((interaction, type, data),) = await instructions(routing, 1)
    assert (interaction, type, data["text"]) == ("v1", "chat.invite", RULE["text"])
    assert data["invitation"] == str(invited["invitation"])
    assert data.keys().isdisjoint({"ticket", "agent"})
    assert await database.fetchval("select count(*) from early_events") == 0
    assert (await a_visit(routing, "v1"))["invited"] == "accepted"


async def test_whoever_has_been_here_before_is_returning(routing: Routing, connect: Connect) -> None:
    await routing.set_up(invitations=[RULE | {"returning": True}])
    await routing.sign_in("a01")
    await routing.tell("visit.seen", "v1", page="/oven", contact={"external_id": "crm-1"})
    await routing.tell("visit.seen", "v2", page="/oven", contact={"external_id": "crm-1"})
    await routing.tell("visit.seen", "v3", page="/oven", contact={"external_id": "crm-2"})
    await routing.tell("visit.seen", "v4", page="/oven")
    await an_invitation(routing, connect, "v2", "invited")
    await a_visit(routing, "v4")
    await routing.process.inviting.invite_due()
    for new in ("v3", "v4"):
        await an_invitation(routing, connect, new, "watched")


async def test_nobody_is_invited_to_a_site_where_nobody_is_there(routing: Routing, connect: Connect) -> None:
    await routing.set_up(invitations=[RULE])
    await routing.tell("visit.seen", "v1", page="/oven")
    await a_visit(routing, "v1")
    await routing.process.inviting.invite_due()
    # the next page is another chance
    await routing.sign_in("a01")
    await routing.process.inviting.invite_due()
    await an_invitation(routing, connect, "v1", "watched")
    await routing.tell("visit.seen", "v1", page="/oven/2")
    await an_invitation(routing, connect, "v1", "invited")


async def test_an_agent_invites_a_visitor_by_hand_and_no_second_one_does_meanwhile(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up()
    await routing.tell("visit.seen", "v1", page="/oven", contact={"external_id": "crm-1", "name": "王芳"})
    seen = await a_visit(routing, "v1")
    assert (seen["page"], seen["name"], seen["ticket"], seen["invited"]) == ("/oven", "王芳", None, None)
    path, asks = f"/v1/visits/{seen['id']}/invite", {"text": "您好，我是客服"}
    await routing.call("POST", path, asks, expect=403)
    answers = await asyncio.gather(*(routing.raw("POST", path, asks, agent=a) for a in ("a01", "a02")))
    assert sorted(a.status_code for a in answers) == [200, 409]
    agent = next(a.json()["agent"] for a in answers if a.status_code == 200)
    ((_, type, data),) = await instructions(routing, 1)
    assert (type, data["agent"], data["text"]) == ("chat.invite", agent, "您好，我是客服")
    await routing.tell("chat.started", "v1", contact={"external_id": "crm-1"})
    ticket = await routing.ticket("v1")
    await an_invitation(routing, connect, "v1", "accepted")
    first = (await routing.call("GET", f"/v1/tickets/{ticket['id']}/history"))["items"][-1]
    assert first["why"] == {"invited_by": agent}
    await routing.call("POST", path, asks, agent="a01", expect=409)
    assert (await a_visit(routing, "v1"))["ticket"] == ticket["id"]


async def test_an_invitation_that_could_not_be_shown_or_is_over_may_be_said_again(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up()
    await routing.tell("visit.seen", "v1", page="/oven")
    path, asks = f"/v1/visits/{(await a_visit(routing, 'v1'))['id']}/invite", {"text": "您好"}
    first = await routing.call("POST", path, asks, agent="a01")
    await routing.tell("instruction.failed", "v1", instruction=first["id"], reason="gone")
    await an_invitation(routing, connect, "v1", "failed")
    await routing.call("POST", path, asks, agent="a01")
    database = await connect("routing")
    await database.execute("update invitations set expires_at = now()")
    await routing.call("POST", path, asks, agent="a02")
    await routing.call("POST", "/v1/visits/0199a0c0-0000-7000-8000-000000000000/invite", asks, agent="a01", expect=404)
    await routing.call("POST", path, {"text": ""}, agent="a01", expect=422)


async def test_visits_are_listed_newest_first_page_by_page(routing: Routing) -> None:
    await routing.set_up()
    for n in range(3):
        await routing.tell("visit.seen", f"v{n}", page=f"/{n}")
        await a_visit(routing, f"v{n}")
    first = await routing.call("GET", "/v1/visits?limit=2")
    second = await routing.call("GET", f"/v1/visits?limit=2&cursor={first['next']}")
    assert [v["page"] for v in first["items"] + second["items"]] == ["/2", "/1", "/0"]
    assert (await routing.call("GET", "/v1/visits?site=mars"))["items"] == []


async def test_who_was_here_yesterday_is_forgotten(routing: Routing, connect: Connect) -> None:
    await routing.set_up(invitations=[RULE])
    await routing.tell("visit.seen", "v1", page="/oven")
    await an_invitation(routing, connect, "v1", "watched")
    database = await connect("routing")
    await database.execute("update invitations set touched_at = now() - interval '25 hours'")
    await database.execute(
        "insert into places_told values (gen_random_uuid(), 'sales', 1, null, now() - interval '25 hours')"
    )
    await routing.process.inviting.forget()
    counts = "select (select count(*) from invitations) + (select count(*) from places_told)"
    assert await database.fetchval(counts) == 0


async def test_the_check_of_an_agent_tells_why_they_receive_nothing(routing: Routing) -> None:
    await routing.set_up(agents=2)
    path = "/v1/agents/a01/check"
    found = await routing.call("GET", path)
    assert (found["receives"], [f["rule"] for f in found["findings"]]) == (False, ["signed_out", "nothing_waits"])
    assert found["findings"][0]["zh"] == "坐席 a01 未签入"
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    assert [f["rule"] for f in (await routing.call("GET", path))["findings"]] == ["signed_out"]
    await routing.sign_in("a01")
    await routing.ticket("c1", "offered")
    found = await routing.call("GET", path)
    assert (found["receives"], [f["rule"] for f in found["findings"]]) == (True, ["nothing_waits"])
    await routing.call("GET", "/v1/agents/a99/check", expect=404)
    declined = (await routing.call("GET", "/v1/agents/a01/offers"))["items"][0]["id"]
    await routing.call("POST", f"/v1/offers/{declined}/decline", {}, agent="a01")
    found = await routing.call("GET", path)
    assert (found["receives"], [f["rule"] for f in found["findings"]]) == (False, ["passed"])


async def test_the_check_names_for_whom_a_contact_waits(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=2, prefer_last_agent={"wait_s": 600})
    await routing.sign_in("a02")
    await routing.tell("chat.started", "c1", contact={"external_id": "crm-1"})
    offer = (await routing.ticket("c1", "offered"))["offer"]
    await routing.call("POST", f"/v1/offers/{offer}/accept", {}, agent="a02")
    await routing.call("PUT", "/v1/agents/a02/presence", {"state": "busy"}, agent="a02")
    await routing.sign_in("a01")
    await routing.tell("chat.started", "c2", contact={"external_id": "crm-1"})
    await routing.ticket("c2", "queued")
    found = await routing.call("GET", "/v1/agents/a01/check")
    rules = [(f["rule"], f["path"]) for f in found["findings"]]
    assert (found["receives"], rules) == (False, [("preference", "agents/a02")])
    # Whoever left the group is waited for no more.
    await routing.call("PUT", "/v1/agents/a01/presence", {"state": "busy"}, agent="a01")
    group = await routing.call("GET", "/v1/groups/sales")
    await routing.call("PUT", "/v1/groups/sales", {**group, "agents": ["a01"]})
    found = await routing.call("GET", "/v1/agents/a01/check")
    assert [f["rule"] for f in found["findings"]] == ["not_available"]
