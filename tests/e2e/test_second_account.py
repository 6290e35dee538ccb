"""A second account with the same ids sees and disturbs nothing of the first: every route, and both feeds."""

import re
from dataclasses import dataclass
from typing import Any

import httpx

from tests.e2e.kefu import Json, Kefu, an_id, until

SECRET = "只给第一家看的话"
REPLY = "只有第一家说的话"
OWN_OBJECTS: dict[str, Json] = {
    "roles": {"id": "inspector", "name": "质检", "permissions": ["tickets:read"]},
    "departments": {"id": "care", "name": "客户关系", "head": "a12"},
    "categories": {"id": "invoices", "name": "发票", "skills": {"财务": 3}},
}
COLLECTIONS = ("sites", "calendars", "agents", "groups", "plans", "addresses", "keys", *OWN_OBJECTS)
ONLY_THE_FIRST_HAS = {
    "accounts": "demo",
    "sites": "night",
    "calendars": "never",
    "agents": "a12",
    "groups": "complaints",
    "plans": "night",
    "addresses": "service",
    "keys": "adapter",
    **{kind: body["id"] for kind, body in OWN_OBJECTS.items()},
}
BODIES: dict[str, Json] = {
    "reply": {"text": "x"},
    "note": {"text": "x"},
    "transfer": {"to": {"group": "pre-sale"}, "reason": "x"},
    "presence": {"state": "available"},
    "invite": {"text": "x"},
    "unmerge": {"interaction": "x"},
    "holidays": {"country": "CN", "years": [2026]},
    "demo": {"id": "demo", "short_name": "别家"},
    "password": {"password": "eines-von-nebenan"},
    "no-link": {"password": "eines-von-nebenan"},
}
_NEW_ACCOUNTS = ("POST /v1/accounts", "POST /v1/credit/top-ups")


@dataclass(frozen=True)
class Route:
    """One operation of a service's OpenAPI document."""

    service: str
    method: str
    path: str


async def _second_account(first: Kefu) -> Kefu:
    """The same site, agent, group and plan ids as the demo account's."""
    account = an_id("acc")
    operator = first.stack["keys"]["operator"]
    made = await first.call(
        "routing", "POST", "/v1/accounts", {"id": account, "short_name": "别家"}, key=operator, expect=201
    )
    second = Kefu(first.stack, admin=made["keys"]["admin"])
    objects: list[tuple[str, Json]] = [
        ("sites", {"id": "shop", "name": "别家的店"}),
        ("agents", {"id": "a01", "name": "别家坐席", "roles": ["agent", "administrator"]}),
        ("groups", _group("pre-sale")),
        ("plans", {"id": "shop", "site": "shop", "groups": ["pre-sale"]}),
    ]
    for path, body in objects:
        await second.call("routing", "POST", f"/v1/{path}", body, expect=201)
    posted = ("calls", "chats", "emails", "messages", "visits", "ratings", "outcomes")
    scopes = [f"{what}:write" for what in posted]
    key = {"id": "web", "adapter": "demo", "scopes": [*scopes, "outbound:read"], "sites": ["shop"]}
    second.adapter = (await second.call("routing", "POST", "/v1/keys", key, expect=201))["key"]
    return second


def _group(id: str) -> Json:
    return {"id": id, "name": id, "leader": "a01", "agents": ["a01"], "sources": ["*"], "tiers": ["*"]}


async def _routes(kefu: Kefu) -> list[Route]:
    found = []
    for service, url in kefu.urls.items():
        document = (await kefu.http.get(f"{url}/openapi.json")).json()
        for path, operations in document["paths"].items():
            found += [Route(service, method.upper(), path) for method in operations]
    return found


async def _accepted_by_intake(kefu: Kefu) -> None:
    """A key is in force in every service within 2 s."""

    async def probe() -> bool | None:
        answer = await kefu.http.post(
            f"{kefu.urls['intake']}/v1/chats", json={}, headers={"Authorization": f"Bearer {kefu.adapter}"}
        )
        return answer.status_code != 401 or None

    await until("the new key is known to intake", probe, within_s=2)

    async def stream_probe() -> bool | None:
        answer = await kefu.http.get(
            f"{kefu.urls['notifications']}/v1/messages", headers={"Authorization": f"Bearer {kefu.admin}"}
        )
        return answer.status_code != 401 or None

    await until("the new key is known to notifications", stream_probe, within_s=2)


async def _first_accounts_work(first: Kefu) -> tuple[Json, Json, str]:
    """A ticket in hand with a conversation, one on offer, and a message to the administrators."""
    await first.sign_in("a01")
    chat, waiting, left = an_id("chat"), an_id("chat"), an_id("msg")
    await first.post("/v1/chats", "chat.started", chat, contact={"name": SECRET})
    await first.post("/v1/chats", "chat.message", chat, data={"text": SECRET})
    ticket = await first.ticket_in(chat, "offered")
    await first.accept(await first.offer_of(ticket))
    await first.command(ticket, "note", {"text": SECRET}, "a01")
    await first.post("/v1/chats", "chat.started", waiting)
    on_offer = await first.offer_of(await first.ticket_in(waiting, "offered"))
    await first.post("/v1/messages", "message.left", left, data={"text": SECRET})
    queued = await first.ticket_of(left)

    async def told() -> str | None:
        found = await first.call("notifications", "GET", f"/v1/messages?ticket={queued['id']}")
        return found["items"][0]["id"] if found["items"] else None

    return ticket, on_offer, await until("the administrators are told", told)


async def _visit(first: Kefu) -> str:
    """Somebody looks at a page of the first account's."""
    place = an_id("visit")
    await first.post("/v1/visits", "visit.seen", place, data={"page": SECRET})

    async def seen() -> str | None:
        items = (await first.call("routing", "GET", "/v1/visits?site=shop"))["items"]
        return next((v["id"] for v in items if v["interaction"] == place), None)

    return await until("the visit is there", seen)


async def _directory_of(kefu: Kefu) -> dict[str, Json]:
    """Everything that an account has set up, by kind and id."""
    found: dict[str, Json] = {}
    for kind in COLLECTIONS:
        for item in (await kefu.call("routing", "GET", f"/v1/{kind}?limit=1000"))["items"]:
            found[f"{kind}/{item['id']}"] = item
    return found


async def test_every_route_and_both_feeds_are_blind_to_another_account(kefu: Kefu) -> None:
    second = await _second_account(kefu)
    await _accepted_by_intake(second)
    async with second, second.stream("outbound") as outbound, second.stream("tickets") as events:
        ticket, on_offer, message = await _first_accounts_work(kefu)
        for kind, body in OWN_OBJECTS.items():
            await kefu.call("routing", "POST", f"/v1/{kind}", body, expect=201)
        set_up = await _directory_of(kefu)
        known = {
            "tickets": ticket["id"],
            "contacts": ticket["contact"],
            "offers": on_offer["offer"],
            "messages": message,
            "attachments": "0",
            "password-resets": "no-link",
            "visits": await _visit(kefu),
            **ONLY_THE_FIRST_HAS,
        }
        tried = 0
        for route in await _routes(kefu):
            if f"{route.method} {route.path}" in _NEW_ACCOUNTS or route.service == "intake" or "stream" in route.path:
                continue
            answer = await _try(second, route, known, set_up)
            assert answer.status_code != 500, f"{route}: {answer.text}"
            assert SECRET not in answer.text, route
            assert not any(id in answer.text.replace(str(answer.url), "") for id in _told(answer, known)), route
            if _names_a_thing_of_the_first(route, known):
                # Changing an account is the operator's alone.
                refused = 403 if route.path == "/v1/accounts/{id}" and route.method == "PUT" else 404
                assert answer.status_code == refused, f"{route}: {answer.status_code} {answer.text}"
            tried += 1
        assert tried > 40
        for query in (f"contact={ticket['contact']}", f"interaction={ticket['interaction']}", "handler=a01"):
            assert (await second.call("routing", "GET", f"/v1/tickets?{query}"))["items"] == []

        await _post_about(second, ticket, outbound_of_first=await _instruction_of(kefu, ticket))
        await _make_the_same(second, set_up)
        assert await _directory_of(kefu) == set_up
        untouched = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}")
        assert (untouched["status"], untouched["handler"]) == ("active", "a01")
        said = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages")
        assert [(m["text"], m["state"]) for m in said["items"]] == [(SECRET, None), (REPLY, "pending")]
        await _second_accounts_own_traffic(second, ticket, outbound.events, events.events)
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")
    for kind, body in OWN_OBJECTS.items():
        await kefu.call("routing", "DELETE", f"/v1/{kind}/{body['id']}", expect=204)


async def _instruction_of(kefu: Kefu, ticket: Json) -> str:
    """The first account's agent replies; the id of the instruction that says it."""
    async with kefu.stream("outbound") as outbound:
        await kefu.command(ticket, "reply", {"text": REPLY}, "a01")
        said = await outbound.first("chat.say", lambda e: e["type"] == "kefu.chat.say" and e["data"]["text"] == REPLY)
    return str(said["id"])


async def _post_about(second: Kefu, ticket: Json, outbound_of_first: str) -> None:
    """Everything that an adapter can post, about the first account's interaction and instruction."""
    interaction = ticket["interaction"]
    for path, type, data in [
        ("calls", "call.answered", {"agent": "a01"}),
        ("calls", "call.ended", {}),
        ("chats", "chat.message", {"text": "von nebenan"}),
        ("chats", "chat.ended", {}),
        ("emails", "email.received", {"text": "von nebenan"}),
        ("messages", "message.left", {"text": "von nebenan"}),
        ("visits", "visit.seen", {"page": "von nebenan"}),
        ("ratings", "rating.given", {"score": 1}),
        ("outcomes", "instruction.failed", {"instruction": outbound_of_first}),
    ]:
        await second.post(f"/v1/{path}", type, interaction, data=data)
    own = (await second.ticket_of(interaction))["id"]
    # An outcome on an interaction of its own, which has a ticket, that names what the first account was asked to do.
    await second.post("/v1/outcomes", "instruction.failed", interaction, data={"instruction": outbound_of_first})
    marker = an_id("mail")
    await second.post("/v1/emails", "email.received", marker, data={"text": "danach"})
    await second.ticket_of(marker)
    assert own != ticket["id"]


async def _make_the_same(second: Kefu, set_up: dict[str, Json]) -> None:
    """The first account's own objects, posted and put by the second: they are its own, or refused."""
    for place, body in set_up.items():
        kind = place.partition("/")[0]
        headers = {"Authorization": f"Bearer {second.admin}"}
        url = f"{second.urls['routing']}/v1/{kind}"
        made = await second.http.post(url, json=body, headers=headers)
        assert made.status_code in (201, 409, 422), made.text
        put = await second.http.put(f"{url}/{body['id']}", json=body, headers=headers)
        assert put.status_code in (200, 404, 422), put.text


async def _try(second: Kefu, route: Route, known: dict[str, str], set_up: dict[str, Json]) -> httpx.Response:
    """Call a route as the second account, with the first account's ids in the path and a body that would do."""
    path = re.sub(r"/([^/]+)/\{[^}]+\}", lambda m: f"/{m[1]}/{known[m[1]]}", route.path)
    as_the_first_has_it = set_up.get(path.removeprefix("/v1/"))
    body: Any = None
    if route.method == "PUT" and as_the_first_has_it is not None:
        body = as_the_first_has_it
    elif route.method in ("POST", "PUT"):
        body = BODIES.get(path.rsplit("/", 1)[-1], {})
    headers = {"Authorization": f"Bearer {second.admin}", "Kefu-Agent": "a01"}
    return await second.http.request(route.method, f"{second.urls[route.service]}{path}", json=body, headers=headers)


def _told(answer: httpx.Response, known: dict[str, str]) -> list[str]:
    """Ids that an answer must not give away; an error may repeat the one that was asked for."""
    return [] if answer.status_code == 404 else [known["contacts"], known["offers"]]


def _names_a_thing_of_the_first(route: Route, known: dict[str, str]) -> bool:
    return any(f"/{kind}/{{" in route.path for kind in known)


async def _second_accounts_own_traffic(second: Kefu, foreign: Json, outbound: list[Json], events: list[Json]) -> None:
    """The same interaction id in the other account is another interaction; its events do come on its feeds."""
    await second.sign_in("a01")
    interaction = an_id("chat")
    await second.post("/v1/chats", "chat.started", interaction)
    ticket = await second.ticket_in(interaction, "offered")
    assert ticket["id"] != foreign["id"]
    await second.accept(await second.offer_of(ticket))
    await second.command(ticket, "reply", {"text": "别家的回答"}, "a01")

    async def arrived() -> bool | None:
        return (any(e["type"] == "kefu.chat.say" for e in outbound) and len(events) >= 4) or None

    await until("the second account's own events arrive", arrived)
    assert {e["account"] for e in outbound + events} == {ticket["account"]}
    report = await second.call("reporting", "GET", "/v1/reports/daily?format=json")
    assert report["totals"]["opened"] <= 4
    await second.sign_everybody_out()
