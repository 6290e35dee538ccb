"""The directory over HTTP, and who may do what (D-06, H-05)."""

import json

import pytest

from kefu_common.kafka import topics
from tests.routing.service import Connect, Json, Routing, until


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
        ("/v1/groups", {"id": "g", "name": "g", "leader": "a09", "agents": ["a01"]}, "leader"),
        ("/v1/groups", {"id": "g", "name": "g", "agents": ["a01"]}, "leader"),
        ("/v1/groups", {"id": "g", "name": "g", "leader": "x", "agents": ["a01", "x"]}, "agents.1"),
        ("/v1/plans", {"id": "p", "site": "shop", "groups": []}, "groups"),
        ("/v1/plans", {"id": "p", "site": "moon", "groups": ["sales"]}, "site"),
        ("/v1/sites", {"id": "s", "name": "s", "calendar": "none"}, "calendar"),
        ("/v1/sites", {"id": "s", "name": "s", "time_zone": "Mars/Base"}, "time_zone"),
        ("/v1/sites", {"id": "s", "name": "s", "colour": "red"}, "colour"),
        ("/v1/keys", {"id": "k", "scopes": ["fly"]}, "scopes"),
        ("/v1/agents", {"id": "a 9", "name": "x"}, "id"),
        ("/v1/agents", {"id": "a9", "name": "x", "roles": ["leader", "boss"]}, "roles.1"),
        ("/v1/plans", {"id": "p", "site": "shop", "groups": ["sales", "moon"]}, "groups.1"),
        (
            "/v1/plans",
            {
                "id": "p",
                "site": "shop",
                "groups": ["sales"],
                "overflow": [{"after_s": 60}, {"after_s": 90, "widen_to": ["sales", "moon"]}],
            },
            "overflow.1.widen_to.1",
        ),
        ("/v1/roles", {"id": "r", "name": "r", "permissions": ["tickets:read", "fly"]}, "permissions.1"),
        ("/v1/departments", {"id": "d", "name": "d", "head": "x"}, "head"),
        ("/v1/departments", {"id": "d", "name": "d", "agents": ["a01", "x"]}, "agents.1"),
        ("/v1/categories", {"id": "c", "name": "c", "parent": "x"}, "parent"),
        ("/v1/categories", {"id": "c", "name": "c", "parent": "c"}, "parent"),
    ],
)
async def test_a_wrong_directory_object_is_refused_with_the_path_of_the_fault(
    shared: Routing, path: str, body: Json, wrong: str
) -> None:
    # D-05, D-06, B-08, H-05
    refused = await shared.call("POST", path, body, expect=422)
    assert wrong in [e["path"] for e in refused["errors"]]


async def test_a_group_without_a_leader_is_told_that_it_needs_one(shared: Routing) -> None:
    # D-06
    refused = await shared.call("POST", "/v1/groups", {"id": "g", "name": "g", "agents": ["a01"]}, expect=422)
    assert refused["errors"] == [{"path": "leader", "message": "a group needs a leader: name one of its agents"}]


async def test_roles_departments_and_categories_are_kept_like_the_others(routing: Routing) -> None:
    # D-05, B-08, D-03
    await routing.set_up()
    made: list[tuple[str, Json]] = [
        ("roles", {"id": "qa", "name": "质检", "permissions": ["tickets:read", "audit:read"]}),
        ("departments", {"id": "finance", "name": "财务", "head": "a01", "agents": ["a02"]}),
        ("categories", {"id": "orders", "name": "订单", "kind": "consultation", "stage": "in_sale"}),
        ("categories", {"id": "refund", "name": "退款", "parent": "orders", "skills": {"支付": 3}}),
    ]
    for path, body in made:
        full = await routing.call("POST", f"/v1/{path}", body, expect=201)
        assert full == {**full, **body}
        await routing.call("POST", f"/v1/{path}", body, expect=409)
        answer = await routing.raw("GET", f"/v1/{path}/{body['id']}")
        assert (answer.json(), answer.headers["etag"]) == (full, '"1"')
        await routing.call("PUT", f"/v1/{path}/{body['id']}", {**full, "name": "新"}, If_Match='"1"')
        await routing.call("PUT", f"/v1/{path}/{body['id']}", full, If_Match='"1"', expect=412)
        await routing.call("DELETE", f"/v1/{path}/{body['id']}", If_Match='"1"', expect=412)
        assert (await routing.call("GET", f"/v1/{path}"))["items"][0]["name"] == "新"
    cycle = {"id": "orders", "name": "订单", "parent": "refund"}
    refused = await routing.call("PUT", "/v1/categories/orders", cycle, expect=422)
    assert [e["path"] for e in refused["errors"]] == ["parent"]


async def test_nothing_that_is_named_anywhere_can_be_deleted(routing: Routing) -> None:
    await routing.set_up()
    more = {"id": "more", "name": "more", "leader": "a01", "agents": ["a01"], "categories": ["refund"]}
    await routing.call("POST", "/v1/roles", {"id": "qa", "name": "质检"}, expect=201)
    await routing.call("POST", "/v1/agents", {"id": "a09", "name": "a09", "roles": ["agent", "qa"]}, expect=201)
    await routing.call("POST", "/v1/departments", {"id": "finance", "name": "财务", "head": "a09"}, expect=201)
    await routing.call("POST", "/v1/categories", {"id": "orders", "name": "订单"}, expect=201)
    await routing.call("POST", "/v1/categories", {"id": "refund", "name": "退款", "parent": "orders"}, expect=201)
    await routing.call("POST", "/v1/groups", more, expect=201)
    plan = await routing.call("GET", "/v1/plans/shop")
    overflow = [{"after_s": 60, "widen_to": ["more"]}]
    await routing.call("PUT", "/v1/plans/shop", {**plan, "overflow": overflow})
    await routing.call("POST", "/v1/sites", {"id": "second", "name": "二"}, expect=201)
    await routing.call("POST", "/v1/keys", {"id": "k", "scopes": ["calls:write"], "sites": ["second"]}, expect=201)
    for path, users in [
        ("roles/qa", ["agent/a09"]),
        ("agents/a09", ["department/finance"]),
        ("categories/orders", ["category/refund"]),
        ("categories/refund", ["group/more"]),
        ("groups/more", ["plan/shop"]),
        ("sites/second", ["key/k"]),
    ]:
        assert (await routing.call("DELETE", f"/v1/{path}", expect=409))["used_by"] == users
    await routing.call("DELETE", "/v1/departments/finance", expect=204)
    await routing.call("DELETE", "/v1/agents/a09", expect=204)
    await routing.call("DELETE", "/v1/roles/qa", expect=204)
    await routing.call("POST", "/v1/roles", {"id": "agent", "name": "客服"}, expect=201)
    await routing.call("DELETE", "/v1/roles/agent", expect=204)


async def test_an_account_or_key_that_exists_is_never_made_again(shared: Routing) -> None:
    operator = {"Authorization": "Bearer operator-key"}
    account = {"id": "acme", "short_name": "另一家"}
    assert (await shared.http.post("/v1/accounts", json=account, headers=operator)).status_code == 409
    assert (await shared.call("POST", "/v1/keys", {"id": "admin", "scopes": ["act-as"]}, expect=409))["status"] == 409


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


async def test_who_has_open_tickets_stays_in_the_directory_and_a_ticket_of_a_group_that_is_gone_finds_another(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=2)
    more = {"id": "more", "name": "more", "leader": "a02", "agents": ["a02"], "sources": ["*"], "tiers": ["*"]}
    await routing.call("POST", "/v1/groups", {**more, "categories": ["more"]}, expect=201)
    plan = {"id": "shop", "site": "shop", "groups": ["sales"]}
    await routing.call("PUT", "/v1/plans/shop", {**plan, "groups": ["sales", "more"]})
    await routing.tell("chat.started", "c1", category="more")
    ticket = await routing.ticket("c1", "queued")
    await routing.call("PUT", "/v1/plans/shop", plan)
    refused = await routing.call("DELETE", "/v1/groups/more", expect=409)
    assert "open tickets" in refused["detail"]
    await routing.sign_in("a02")
    offered = await routing.ticket("c1", "offered")
    await routing.call("DELETE", "/v1/groups/more", expect=409)
    await routing.call("POST", f"/v1/offers/{offered['offer']}/accept", {}, agent="a02")
    await routing.call("DELETE", "/v1/groups/more", expect=409)
    sales = await routing.call("GET", "/v1/groups/sales")
    await routing.call("PUT", "/v1/groups/sales", {**sales, "agents": ["a01"]})
    await routing.call("PUT", "/v1/groups/more", {**more, "leader": "a01", "agents": ["a01"]})
    await routing.call("POST", "/v1/agents/a02/sign-out", {}, agent="a02")
    await routing.call("DELETE", "/v1/agents/a02", expect=409)
    await routing.call("POST", f"/v1/tickets/{ticket['id']}/resolve", {"text": None, "code": None}, agent="a02")
    await routing.call("DELETE", "/v1/groups/more", expect=204)
    await routing.call("DELETE", "/v1/agents/a02", expect=204)

    await routing.tell("chat.started", "c2")
    await routing.ticket("c2", "queued")
    database = await connect("routing")
    await database.execute("update tickets set \"group\" = 'more' where interaction = 'c2'")

    async def moved() -> bool | None:
        return (await routing.ticket("c2"))["group"] == "sales" or None

    await until("the ticket is in a group that exists", moved)


async def test_the_newest_states_of_the_directory_are_published_twice(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    key = await routing.call("POST", "/v1/keys", {"id": "k", "scopes": ["calls:write"], "sites": None}, expect=201)
    changed = {"id": "k", "scopes": ["chats:write"], "sites": ["shop"]}
    assert (await routing.call("PUT", "/v1/keys/k", changed))["scopes"] == ["chats:write"]
    assert "key" not in await routing.call("GET", "/v1/keys/k")
    await routing.call("PUT", "/v1/keys/k", {**changed, "sites": ["moon"]}, expect=422)
    assert key["key"].startswith("kefu_acme_")
    await routing.call("DELETE", "/v1/keys/k", expect=204)
    database = await connect("routing")
    objects = await database.fetchval("select count(*) from directory")
    changes = await database.fetchval("select sum(version)::bigint from directory")
    await database.execute("update directory set updated_at = now() - interval '2 minutes'")
    await routing.process.timers.settle_directory()
    await routing.process.timers.settle_directory()
    records = [json.loads(r.value)["data"] for r in await routing.read(topics.DIRECTORY, changes + objects)]
    last = {(r["kind"], r["object_id"]): (r["version"], r["deleted"]) for r in records}
    assert last["key", "k"] == (3, True)
    assert sum(r["object_id"] == "k" for r in records) == 4


async def test_lists_of_the_directory_are_newest_first_page_by_page(shared: Routing) -> None:
    for n in range(3):
        await shared.call("POST", "/v1/calendars", {"id": f"page{n}", "name": "页"}, expect=201)
    first = await shared.call("GET", "/v1/calendars?limit=2")
    assert [c["id"] for c in first["items"]] == ["page2", "page1"]
    second = await shared.call("GET", f"/v1/calendars?limit=2&cursor={first['next']}")
    assert second["items"][0]["id"] == "page0"
    operator = {"Authorization": "Bearer operator-key"}
    accounts = (await shared.http.get("/v1/accounts", headers=operator)).json()
    assert [a["id"] for a in accounts["items"]] == ["acme"]
    assert (await shared.raw("GET", "/v1/accounts")).status_code == 403


async def test_a_key_for_one_site_sees_no_contact_of_another(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.call("POST", "/v1/sites", {"id": "other", "name": "别处"}, expect=201)
    await routing.tell("chat.started", "c1", contact={"name": "王芳"})
    contact = (await routing.ticket("c1"))["contact"]
    for site, status in [("shop", 200), ("other", 404)]:
        key = {"id": f"k-{site}", "scopes": ["tickets:read"], "sites": [site]}
        secret = (await routing.call("POST", "/v1/keys", key, expect=201))["key"]
        answer = await routing.http.get(f"/v1/contacts/{contact}", headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("POST", "/v1/sites", {"id": "s", "name": "a\x00b"}, "name"),
        (
            "POST",
            "/v1/plans",
            {"id": "p", "site": "shop", "groups": ["sales"], "texts": {"welcome": "\x00"}},
            "texts.welcome",
        ),
        ("PUT", "/v1/agents/a01/presence", {"state": "break", "reason": "\x00"}, "reason"),
        ("GET", "/v1/tickets?interaction=%00", None, "interaction"),
        ("GET", "/v1/sites?cursor=AA==", None, "cursor"),
        ("GET", "/v1/sites?cursor=wrI=", None, "cursor"),
    ],
)
async def test_a_text_that_the_database_cannot_hold_is_told_by_its_path(
    shared: Routing, method: str, path: str, body: Json | None, wrong: str
) -> None:
    answer = await shared.raw(method, path, body, agent="a01")
    assert answer.status_code == 422, answer.text
    assert [e["path"] for e in answer.json()["errors"]] == [wrong]


async def test_a_path_that_the_database_cannot_hold_leads_nowhere(shared: Routing) -> None:
    assert (await shared.raw("GET", "/v1/sites/%00")).status_code == 404


async def test_null_is_as_good_as_absent_where_nothing_is_required(shared: Routing) -> None:
    site = {"id": "nulls", "name": "空", "time_zone": None, "calendar": None}
    made = await shared.call("POST", "/v1/sites", site, expect=201)
    assert made["time_zone"] == "Asia/Shanghai"
    agent = {"id": "n1", "name": "空", "roles": None, "capacity": {"call": None, "chat": 2}}
    made = await shared.call("POST", "/v1/agents", agent, expect=201)
    assert (made["roles"], made["capacity"]) == (["agent"], {"call": 1, "chat": 2, "email": 5})
    refused = await shared.call("POST", "/v1/sites", {"id": "s", "name": None, "colour": None}, expect=422)
    assert [e["path"] for e in refused["errors"]] == ["name", "colour"]


async def test_a_login_is_one_persons_and_a_phone_rings_at_one_agent(shared: Routing) -> None:
    # D-09
    first = {"id": "p1", "name": "一", "login": "wang", "phone": "8123"}
    await shared.call("POST", "/v1/agents", first, expect=201)
    await shared.call("PUT", "/v1/agents/p1", first)
    refused = await shared.call("POST", "/v1/agents", {**first, "id": "p2"}, expect=422)
    assert [e["path"] for e in refused["errors"]] == ["login", "phone"]
    await shared.call("POST", "/v1/agents", {"id": "p3", "name": "三"}, expect=201)
    await shared.call("POST", "/v1/agents", {"id": "p4", "name": "四"}, expect=201)
