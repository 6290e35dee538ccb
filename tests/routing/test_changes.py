"""What a change of the directory is, field by field, and who made it."""

from typing import Any

import pytest

from kefu_routing.domain.changes import FieldChange, action_of, diff, without_secrets
from tests.routing.service import Routing


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"name": "a", "agents": ["x"]}, {"name": "a", "agents": ["x"]}, []),
        ({"name": "a"}, {"name": "b"}, [("name", "a", "b")]),
        ({"agents": ["x"]}, {"agents": ["x", "y"]}, [("agents", ["x"], ["x", "y"])]),
        ({"texts": {"welcome": "a", "closing": "c"}}, {"texts": {"welcome": "b", "closing": "c"}},
         [("texts.welcome", "a", "b")]),
        ({"overflow": [{"after_s": 1}, {"after_s": 9}]}, {"overflow": [{"after_s": 1}, {"after_s": 8}]},
         [("overflow.1.after_s", 9, 8)]),
        ({"weekly": [{"start": "09:00"}]}, {"weekly": []}, [("weekly", [{"start": "09:00"}], [])]),
        ({"load": None}, {"load": {"most": 3}}, [("load", None, {"most": 3})]),
        ({"skills": {"a": 1}}, {"skills": {"b": 2}}, [("skills.a", 1, None), ("skills.b", None, 2)]),
        (None, {"name": "a", "agents": ["x"]}, [("name", None, "a"), ("agents", None, ["x"])]),
        ({"name": "a"}, None, [("name", "a", None)]),
    ],
)  # fmt: skip
def test_a_change_is_told_by_the_paths_of_its_fields(before: Any, after: Any, changes: list[Any]) -> None:
    assert diff(before, after) == [FieldChange(*change) for change in changes]


def test_nothing_secret_is_kept_however_deep_it_lies() -> None:
    key = {"id": "k", "hash": "h", "former": {"sealed": "s", "until": "now"}, "list": [{"hash": "h"}]}
    assert without_secrets(key) == {"id": "k", "former": {"until": "now"}, "list": [{}]}
    assert (action_of(None, {}), action_of({}, {}), action_of({}, None)) == ("created", "changed", "deleted")


async def test_the_audit_tells_who_changed_what_from_what_to_what_newest_first(routing: Routing) -> None:
    # H-02
    await routing.set_up(agents=2)
    group = await routing.call("GET", "/v1/groups/sales")
    await routing.call("PUT", "/v1/groups/sales", {**group, "name": "售前组", "agents": ["a01"]}, agent="a01")
    await routing.call("POST", "/v1/roles", {"id": "qa", "name": "质检"}, expect=201)
    await routing.call("DELETE", "/v1/roles/qa", expect=204)
    await routing.call("POST", "/v1/roles", {"id": "qa", "name": "质检员"}, expect=201)

    group_s = (await routing.call("GET", "/v1/audit?kind=group&id=sales"))["items"]
    assert [(c["action"], c["version"]) for c in group_s] == [("changed", 2), ("created", 1)]
    assert group_s[0]["by"] == {"key": "admin", "agent": "a01"}
    assert group_s[0]["changes"] == [
        {"path": "name", "before": "售前", "after": "售前组"},
        {"path": "agents", "before": ["a01", "a02"], "after": ["a01"]},
    ]
    roles = (await routing.call("GET", "/v1/audit?kind=role"))["items"]
    assert [(c["action"], c["version"]) for c in roles] == [("created", 3), ("deleted", 2), ("created", 1)]
    assert [c["id"] for c in (await routing.call("GET", "/v1/audit?agent=a01"))["items"]] == ["sales"]
    assert (await routing.call("GET", "/v1/audit?key=other"))["items"] == []
    (by_operator,) = (await routing.call("GET", "/v1/audit?kind=account"))["items"]
    assert by_operator["by"] == {"key": "operator", "agent": None}

    first = await routing.call("GET", "/v1/audit?limit=2&kind=role")
    second = await routing.call("GET", f"/v1/audit?limit=2&kind=role&cursor={first['next']}")
    assert [*first["items"], *second["items"]] == roles
    assert second["next"] is None
    assert (await routing.raw("GET", "/v1/audit?kind=moon")).status_code == 422
    blind = await routing.call("POST", "/v1/keys", {"id": "blind", "scopes": ["calls:write"]}, expect=201)
    answer = await routing.http.get("/v1/audit", headers={"Authorization": f"Bearer {blind['key']}"})
    assert answer.status_code == 403


async def test_no_key_and_no_hash_is_in_the_trail(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await routing.call("POST", "/v1/keys", {"id": "k", "scopes": ["calls:write"]}, expect=201)
    await routing.call("POST", "/v1/keys", {"id": "s", "scopes": ["calls:write"], "signed": True}, expect=201)
    await routing.call("POST", "/v1/keys/k/rotate", {}, expect=201)
    await routing.call("POST", "/v1/keys/s/rotate", {}, expect=201)
    rows = await routing.process.db.pool.fetch("select before, after from directory_changes where kind <> 'agent'")
    kept = await routing.process.db.pool.fetch(
        "select body ->> 'hash' as hash, body ->> 'sealed' as sealed, body -> 'former' ->> 'hash' as former"
        " from directory where kind in ('key', 'secret')"
    )
    secrets = {value for row in kept for value in row.values() if value is not None}
    assert len(secrets) >= 5
    assert not [s for s in secrets for row in rows if s in str(row)]
    (rotated, _) = (await routing.call("GET", "/v1/audit?kind=key&id=k"))["items"]
    assert [c["path"] for c in rotated["changes"]] == ["former"]


async def test_an_account_sees_nothing_of_anothers_trail_and_directory(routing: Routing) -> None:
    await routing.set_up(agents=1)
    operator = {"Authorization": "Bearer operator-key"}
    made = await routing.http.post("/v1/accounts", json={"id": "other", "short_name": "别家"}, headers=operator)
    routing.admin = made.json()["keys"]["admin"]
    trail = (await routing.call("GET", "/v1/audit"))["items"]
    assert {(c["kind"], c["id"]) for c in trail} == {("account", "other"), ("key", "admin"), ("secret", "mail-tags")}
    assert await routing.call("GET", "/v1/directory") == {
        "account": {"short_name": "别家", "time_zone": "Asia/Shanghai"}
    }
    await routing.call("GET", "/v1/sites/shop", expect=404)
