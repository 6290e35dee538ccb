"""The whole directory as one file: exported, compared, applied (H-02)."""

import json
from copy import deepcopy
from typing import Any

import pytest

from kefu_common.kafka import topics
from kefu_routing.api.yaml_text import NotYaml, read_yaml, write_yaml
from tests.routing.service import Json, Routing

YAML = {"Accept": "application/yaml"}
OPERATOR = {"Authorization": "Bearer operator-key"}
DOCUMENT: Json = {
    "account": {"short_name": "小店", "time_zone": "Asia/Shanghai"},
    "calendars": {
        "office": {
            "name": "办公时间",
            "weekly": [{"days": [1, 2, 3, 4, 5], "start": "09:00", "end": "18:00"}],
            "breaks": [{"days": [1, 2, 3, 4, 5], "start": "12:00", "end": "13:00"}],
            "shifts": [{"name": "夜班", "start": "22:00", "end": "06:00"}],
            "country": "CN",
            "holidays": [{"date": "2026-10-01", "name": "国庆节"}],
            "make_up_days": [{"date": "2026-10-10", "name": "上班", "as_day": 3}],
        }
    },
    "sites": {"shop": {"name": "网店", "region": "CN"}, "desk": {"name": "前台", "calendar": "office"}},
    "roles": {"qa": {"name": "质检", "permissions": ["tickets:read"]}},
    "agents": {
        "a01": {"name": "王芳", "roles": ["leader", "qa"], "skills": {"退款": 3}, "phone": "8001"},
        "a02": {"name": "李雷", "capacity": {"chat": 5}, "load": {"most": 9}},
    },
    "groups": {
        "sales": {"name": "售前", "leader": "a01", "agents": ["a01", "a02"], "sources": ["*"], "tiers": ["*"]},
        "more": {"name": "售后", "leader": "a02", "agents": ["a02"], "categories": ["refund"]},
    },
    "departments": {"finance": {"name": "财务", "head": "a02"}},
    "categories": {"orders": {"name": "订单"}, "refund": {"name": "退款", "parent": "orders", "stage": "after_sale"}},
    "plans": {
        "shop": {
            "site": "shop",
            "groups": ["sales"],
            "strategy": "skill_first",
            "overflow": [{"after_s": 60, "widen_to": ["more"]}],
            "texts": {"welcome": "您好", "festivals": {"春节": "新春快乐"}},
            "prefer_last_agent": {},
        }
    },
    "addresses": {"service": {"address": "service@shop.example", "site": "shop"}},
}


async def empty(routing: Routing, account: str = "acme") -> None:
    """An account that has nothing but its admin's key, which the calls use from now on."""
    made = await routing.http.post("/v1/accounts", json={"id": account, "short_name": account}, headers=OPERATOR)
    assert made.status_code == 201, made.text
    routing.admin = made.json()["keys"]["admin"]


async def apply(routing: Routing, document: Any, expect: int = 200, query: str = "", **headers: str) -> Json:
    return await routing.call("PUT", f"/v1/directory{query}", document, expect=expect, **headers)


async def apply_yaml(routing: Routing, text: bytes, query: str = "") -> tuple[int, Json]:
    sent = {"Authorization": f"Bearer {routing.admin}", "Content-Type": "application/yaml"}
    answer = await routing.http.put(f"/v1/directory{query}", content=text, headers=sent)
    return answer.status_code, answer.json()


def without(*path: str) -> Json:
    document: Json = deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return document


def changed(value: Any, *path: str) -> Json:
    document: Json = deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = value
    return document


async def test_what_is_exported_and_applied_to_an_empty_account_is_exported_again_as_it_was(routing: Routing) -> None:
    await empty(routing)
    told = await apply(routing, DOCUMENT)
    assert len(told["created"]) == 13
    assert [c["path"] for c in told["changed"]] == ["account"]
    first = await routing.raw("GET", "/v1/directory", **YAML)
    assert first.headers["content-type"].startswith("application/yaml")
    as_json = await routing.call("GET", "/v1/directory")
    assert await apply(routing, as_json) == {
        "dry_run": False, "created": [], "changed": [], "deleted": [], "kept": []
    }  # fmt: skip

    # The mail address is one account's only.
    await routing.call("DELETE", "/v1/addresses/service", expect=204)
    text = first.content
    await empty(routing, "another")
    status, told = await apply_yaml(routing, text)
    assert (status, len(told["created"])) == (200, 13)
    second = await routing.raw("GET", "/v1/directory", **YAML)
    assert second.content == text
    assert read_yaml(text)["plans"]["shop"]["texts"] == DOCUMENT["plans"]["shop"]["texts"]
    assert b"licensed" not in text
    assert b"admin" not in text


async def test_each_object_gets_its_version_event_and_audit_as_if_it_were_changed_alone(routing: Routing) -> None:
    await empty(routing)
    await apply(routing, DOCUMENT)
    document = changed("李磊", "agents", "a02", "name")
    told = await apply(routing, document, If_Match=(await routing.raw("GET", "/v1/directory")).headers["etag"])
    assert told["changed"] == [
        {
            "path": "agents.a02",
            "kind": "agent",
            "id": "a02",
            "changes": [{"path": "name", "before": "李雷", "after": "李磊"}],
        }
    ]
    assert (await routing.raw("GET", "/v1/agents/a02")).headers["etag"] == '"2"'
    assert (await routing.raw("GET", "/v1/agents/a01")).headers["etag"] == '"1"'
    trail = (await routing.call("GET", "/v1/audit?kind=agent&id=a02"))["items"]
    assert [(c["version"], c["action"]) for c in trail] == [(2, "changed"), (1, "created")]
    assert trail[0]["changes"] == told["changed"][0]["changes"]
    # The account, its admin's key and two secrets; what was applied; what was changed.
    events = [json.loads(r.value)["data"] for r in await routing.read(topics.DIRECTORY, 4 + 14 + 1)]
    assert {(e["kind"], e["object_id"], e["version"]) for e in events} >= {
        ("account", "acme", 2), ("group", "sales", 1), ("plan", "shop", 1), ("agent", "a02", 2)
    }  # fmt: skip


async def test_agents_that_come_with_a_file_take_what_waits(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    document = await routing.call("GET", "/v1/directory")
    document["agents"]["a02"] = {"name": "新"}
    document["groups"]["sales"]["agents"] = ["a01", "a02"]
    await apply(routing, document)
    await routing.sign_in("a02")
    assert (await routing.ticket("c1", "offered"))["offer"]


async def test_a_site_whose_new_calendar_is_open_lets_waiting_mail_in_at_once(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    document = await routing.call("GET", "/v1/directory")
    document["calendars"] = {"never": {"name": "关"}}
    document["sites"]["shop"]["calendar"] = "never"
    await apply(routing, document)
    await routing.tell("message.left", "m1", text="在吗")
    await routing.ticket("m1", "queued")
    document["calendars"]["never"]["weekly"] = [{"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"}]
    await apply(routing, document)
    await routing.ticket("m1", "offered")


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        (without("groups", "sales", "leader"), ["groups.sales.leader"]),
        (
            changed({"name": "", "agents": ["a01", "a09"]}, "groups", "third"),
            ["groups.third.name", "groups.third.leader", "groups.third.agents.1"],
        ),
        (
            changed({"site": "moon", "groups": ["sales"], "strategy": "luck"}, "plans", "two"),
            ["plans.two.strategy", "plans.two.site"],
        ),
        (changed({"site": "moon"}, "addresses", "two"), ["addresses.two.address"]),
        (changed(["boss"], "agents", "a01"), ["agents.a01"]),
        (changed({"name": "售后"}, "groups", "more"), ["groups.more.agents", "groups.more.leader"]),
        (changed("a09", "groups", "sales", "leader"), ["groups.sales.leader"]),
        (without("agents", "a02"), ["groups.sales.agents.1", "groups.more.agents.0", "departments.finance.head"]),
        (changed(["moon"], "plans", "shop", "groups"), ["plans.shop.groups.0"]),
        (changed({"site": "shop", "groups": ["more"]}, "plans", "two"), ["plans.shop.site", "plans.two.site"]),
        (changed("refund", "categories", "orders", "parent"), ["categories.orders.parent", "categories.refund.parent"]),
        (changed("wrong", "sites", "shop", "region"), ["sites.shop.region"]),
        (changed([], "agents", "a01"), ["agents.a01"]),
        (changed({"name": "x"}, "sites", "a b"), ["sites.a b.id"]),
        (changed("x", "sites", "shop", "id"), ["sites.shop.id"]),
        (changed({}, "keys"), ["keys"]),
        (changed(99, "account", "licensed_seats"), ["account.licensed_seats"]),
        (changed(5, "calendars"), ["calendars", "sites.desk.calendar"]),
        (
            changed({"address": "SERVICE@shop.example", "site": "desk"}, "addresses", "two"),
            ["addresses.service.address", "addresses.two.address"],
        ),
    ],
)  # fmt: skip
async def test_a_broken_file_changes_nothing_and_every_fault_is_told_by_its_path(
    fresh: Routing, document: Json, paths: list[str]
) -> None:
    # D-06
    before = await fresh.raw("GET", "/v1/directory")
    for query in ("", "?dry_run=true"):
        refused = await apply(fresh, document, 422, query)
        assert sorted(e["path"] for e in refused["errors"]) == sorted(paths)
    after = await fresh.raw("GET", "/v1/directory")
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])


@pytest.fixture(scope="module")
async def fresh(shared: Routing) -> Routing:
    """The shared service, for an account that has nothing."""
    other = Routing(shared.world, shared.http, shared.producer, shared.process)
    await empty(other, "fresh")
    return other


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        (b"a: &x [1]\nb: *x", 400, "aliases"),
        (b"sites: !!python/object:os.system {}", 400, "tags"),
        (b"sites: {}\nsites: {}", 400, "twice"),
        (b"[" * 50, 400, "deep"),
        (b"[" * 5000, 400, "nesting"),
        (b"sites: [", 400, "YAML"),
        (b"\xff\xff", 400, "YAML"),
        (b"just words", 422, "not as expected"),
        (b"sites: {}" + b" " * 8 * 1024 * 1024, 413, "at most"),
    ],
)
async def test_a_file_that_would_hurt_is_refused(fresh: Routing, text: bytes, status: int, says: str) -> None:
    found, answer = await apply_yaml(fresh, text)
    assert (found, says in answer["detail"]) == (status, True), answer


def test_a_scalar_of_yaml_is_a_text_until_the_model_says_otherwise() -> None:
    text = "start: 10:00\ncountry: NO\nstaff: [0815, yes]\nnothing: ~\nword: 'null'\nday: 2026-10-01\n"
    assert read_yaml(text.encode()) == {
        "start": "10:00",
        "country": "NO",
        "staff": ["0815", "yes"],
        "nothing": None,
        "word": "null",
        "day": "2026-10-01",
    }
    with pytest.raises(NotYaml, match="line 2"):
        read_yaml(b"a: 1\na: 2")
    strange = {"a": ["10:00", "NO", "0815", "~", "null", "", "# x", "多行\n文字 ", "*x", "!x", "'", '"', "a: b", "\t"]}
    assert read_yaml(write_yaml(strange)) == strange


async def test_an_object_that_kafka_would_never_take_is_refused(fresh: Routing) -> None:
    days = [{"date": "2026-01-01", "name": "\x01" * 100}] * 1000
    calendar = {"name": "c", "holidays": days * 2, "make_up_days": days, "closed": days}
    await apply(fresh, {"calendars": {"large": calendar}}, 413)
    await fresh.call("GET", "/v1/calendars/large", expect=404)


async def test_a_dry_run_answers_the_difference_and_writes_nothing(routing: Routing) -> None:
    await empty(routing)
    await apply(routing, DOCUMENT)
    before = await routing.raw("GET", "/v1/directory")
    document = changed(["a01"], "groups", "sales", "agents")
    document["sites"]["third"] = {"name": "三"}
    del document["groups"]["more"], document["plans"]["shop"]["overflow"]
    told = await apply(routing, document, 200, "?dry_run=true&prune=true")
    assert told["dry_run"] is True
    assert [c["path"] for c in told["created"]] == ["sites.third"]
    assert {c["path"]: [f["path"] for f in c["changes"]] for c in told["changed"]} == {
        "groups.sales": ["agents"], "plans.shop": ["overflow"]
    }  # fmt: skip
    assert [c["path"] for c in told["deleted"]] == ["groups.more"]
    after = await routing.raw("GET", "/v1/directory")
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
    same = await apply(routing, document, 200, "?prune=true")
    assert {**same, "dry_run": True} == told


async def test_what_the_file_does_not_name_stays_unless_it_is_pruned_and_nothing_in_use_goes(routing: Routing) -> None:
    await empty(routing)
    await apply(routing, DOCUMENT)
    small = {"agents": {"a01": {"name": "王芳"}}}
    assert "sites.shop" in (await apply(routing, small))["kept"]
    await routing.call("GET", "/v1/sites/shop")
    await routing.call("POST", "/v1/keys", {"id": "k", "scopes": ["calls:write"], "sites": ["shop"]}, expect=201)
    await routing.sign_in("a02")
    refused = await apply(routing, small, 409, "?prune=true")
    assert refused["used_by"] == ["key/k"]
    assert refused["errors"] == [
        {"path": "agents.a02", "message": "the agent a02 is signed in"},
        {"path": "sites.shop", "message": "the key k still names it"},
    ]
    await routing.call("POST", "/v1/agents/a02/sign-out", {}, agent="a02")
    await routing.call("DELETE", "/v1/keys/k", expect=204)
    await apply(routing, small, 200, "?prune=true")
    left = await routing.call("GET", "/v1/directory")
    assert left == {"account": DOCUMENT["account"], **small}
    assert (await apply(routing, DOCUMENT))["kept"] == []


async def test_a_group_with_open_tickets_is_not_pruned(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    document = await routing.call("GET", "/v1/directory")
    del document["groups"], document["plans"]
    refused = await apply(routing, document, 409, "?prune=true")
    assert refused["errors"] == [{"path": "groups.sales", "message": "the group sales still has open tickets"}]


async def test_who_applies_what_they_read_before_somebody_changed_it_is_refused(routing: Routing) -> None:
    await empty(routing)
    await apply(routing, DOCUMENT)
    read = await routing.raw("GET", "/v1/directory")
    await routing.call("POST", "/v1/sites", {"id": "new", "name": "新"}, expect=201)
    for query in ("?dry_run=true", ""):
        await apply(routing, read.json(), 412, query, If_Match=read.headers["etag"])
    assert (await routing.raw("PUT", "/v1/directory?moon=1", DOCUMENT)).status_code == 422


async def test_addresses_change_places_and_another_accounts_is_refused(routing: Routing) -> None:
    await empty(routing)
    two = {
        "one": {"address": "one@shop.example", "site": "shop"},
        "two": {"address": "two@shop.example", "site": "shop"},
    }
    await apply(routing, {**DOCUMENT, "addresses": two})
    swapped = {"one": two["two"], "two": two["one"]}
    await apply(routing, {**DOCUMENT, "addresses": swapped})
    assert (await routing.call("GET", "/v1/addresses/one"))["address"] == "two@shop.example"
    await apply(routing, {**DOCUMENT, "addresses": {"three": two["one"]}}, 200, "?prune=true")
    await empty(routing, "another")
    refused = await apply(routing, {**DOCUMENT, "addresses": {"mine": two["one"]}}, 409, "?dry_run=true")
    assert "one@shop.example" in refused["detail"]


async def test_a_countrys_calendar_in_a_file_begins_with_its_holidays_and_keeps_them(routing: Routing) -> None:
    # D-01
    await empty(routing)
    document = {"calendars": {"cn": {"name": "中国", "country": "CN"}}}
    await apply(routing, document)
    calendar = await routing.call("GET", "/v1/calendars/cn")
    assert {"春节", "国庆节"} <= {d["name"] for d in calendar["holidays"]}
    assert (await apply(routing, document))["changed"] == []
    document["calendars"]["cn"]["holidays"] = []  # type: ignore[assignment]
    await apply(routing, document)
    assert (await routing.call("GET", "/v1/calendars/cn"))["holidays"] == []


async def test_what_exists_is_never_made_again(routing: Routing) -> None:
    await empty(routing)
    await apply(routing, DOCUMENT)
    for path in DOCUMENT.keys() - {"account"}:
        (body, *_) = (await routing.call("GET", f"/v1/{path}"))["items"]
        body.pop("alarm", None)
        refused = await routing.call("POST", f"/v1/{path}", body, expect=409)
        assert "exists" in refused["detail"]
