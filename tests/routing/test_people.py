"""People who sign in: passwords, second factors, sessions, and what their roles permit (D-04, D-05, D-12)."""

from typing import Any

import httpx
import pyotp
import pytest
from pydantic import SecretStr

from kefu_common.settings import DatabaseSettings
from kefu_reporting.app import create as create_reporting
from tests.conftest import SEALING_KEY
from tests.routing.service import Connect, Json, Routing, until

PASSWORD, OTHER = "烤箱-Ofen-oven-7", "Spülmaschine-42"


async def a_person(routing: Routing, agent: str = "a01", **fields: Any) -> None:
    """An agent who may sign in as `wang`."""
    body = {"id": agent, "name": "王芳", "login": "wang", "email": "wang@shop.example", **fields}
    await routing.call("PUT", f"/v1/agents/{agent}", body)
    await routing.call("PUT", f"/v1/agents/{agent}/password", {"password": PASSWORD}, expect=204)


async def sign_in(routing: Routing, expect: int = 201, **given: Any) -> Json:
    body = {"account": "acme", "login": "wang", "password": PASSWORD, **given}
    answer = await routing.http.post("/v1/sessions", json=body)
    assert answer.status_code == expect, answer.text
    found: Json = answer.json()
    return found | {"headers": answer.headers}


async def ask(
    routing: Routing, session: Json, method: str, path: str, body: Any = None, expect: int = 200, **headers: str
) -> Json:
    """A request with the session's token."""
    sent = {"Authorization": f"Bearer {session['token']}", **headers}
    answer = await routing.http.request(method, path, json=body, headers=sent)
    assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
    found: Json = answer.json() if answer.content else {}
    return found


async def test_an_agent_signs_in_works_and_signs_out(routing: Routing) -> None:
    await routing.set_up(agents=2)
    await a_person(routing)
    session = await sign_in(routing, login="WANG")
    me = await ask(routing, session, "GET", "/v1/me")
    assert (me["id"], me["roles"], me["permissions"]) == (
        "a01",
        ["agent"],
        ["directory:read", "tickets:read", "tickets:write"],
    )
    assert me["groups"] == [{"id": "sales", "name": "售前", "leads": True}]
    await ask(routing, session, "POST", "/v1/agents/a01/sign-in", {"lease_s": 0})
    await routing.tell("chat.started", "c1")
    offer = (await routing.ticket("c1", "offered"))["offer"]
    taken = await ask(routing, session, "POST", f"/v1/offers/{offer}/accept", {})
    assert taken["handler"] == "a01"
    await ask(routing, session, "POST", f"/v1/tickets/{taken['id']}/reply", {"text": "您好"})
    await ask(routing, session, "POST", "/v1/groups", {"id": "g"}, expect=403)
    await ask(routing, session, "GET", "/v1/audit", expect=403)
    await ask(routing, session, "GET", "/v1/me", expect=403, **{"Kefu-Agent": "a02"})
    await ask(routing, session, "DELETE", "/v1/sessions/current", expect=204)
    await ask(routing, session, "GET", "/v1/me", expect=401)


async def test_a_wrong_password_and_an_unknown_login_are_told_alike(routing: Routing) -> None:
    await routing.set_up(agents=1)
    await a_person(routing)
    wrong = await sign_in(routing, 401, password=OTHER)
    unknown = await sign_in(routing, 401, login="nobody")
    elsewhere = await sign_in(routing, 401, account="moon")
    assert {k: v for k, v in wrong.items() if k != "headers"} == {k: v for k, v in unknown.items() if k != "headers"}
    assert wrong["detail"] == elsewhere["detail"]


async def test_each_wrong_password_makes_the_next_attempt_wait_longer(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    await a_person(routing)
    database = await connect("routing")
    for _ in range(4):
        await sign_in(routing, 401, password=OTHER)
    waits = []
    for _ in range(3):
        refused = await sign_in(routing, 429)
        waits.append(int(refused["headers"]["retry-after"]))
        await database.execute("update sign_in_attempts set next_at = now() - interval '1 second'")
        await sign_in(routing, 401, password=OTHER)
    assert waits == sorted(set(waits))
    assert waits[0] >= 1
    await database.execute("update sign_in_attempts set next_at = now() - interval '1 second'")
    await sign_in(routing)
    await sign_in(routing, 401, password=OTHER)
    await sign_in(routing)


async def test_a_session_is_renewed_until_the_password_changes(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    await a_person(routing)
    first, other = await sign_in(routing), await sign_in(routing)
    renewed = await routing.http.post("/v1/sessions/renew", json={"renewal": first["renewal"]})
    assert renewed.status_code == 201
    assert renewed.json()["renewal"] != first["renewal"]
    change = {"old": PASSWORD, "new": OTHER}
    wrong = await ask(routing, first, "PUT", "/v1/me/password", {**change, "old": "something else"}, expect=422)
    assert wrong["errors"][0]["path"] == "old"
    weak = await ask(routing, first, "PUT", "/v1/me/password", {**change, "new": "aaaaaaaaaaaa"}, expect=422)
    assert weak["errors"][0]["path"] == "new"
    await ask(routing, first, "PUT", "/v1/me/password", change, expect=204)
    await ask(routing, first, "GET", "/v1/me")
    await ask(routing, other, "GET", "/v1/me", expect=401)
    gone = await routing.http.post("/v1/sessions/renew", json={"renewal": other["renewal"]})
    assert gone.status_code == 401
    await sign_in(routing, 401)
    await sign_in(routing, password=OTHER)
    # A renewal secret that was used long ago is somebody else's by now: nobody goes on with it.
    database = await connect("routing")
    await database.execute("update sessions set renewed_at = renewed_at - interval '2 minutes'")
    stolen = await routing.http.post("/v1/sessions/renew", json={"renewal": first["renewal"]})
    assert stolen.status_code == 401
    after = await routing.http.post("/v1/sessions/renew", json={"renewal": renewed.json()["renewal"]})
    assert after.status_code == 401


async def test_a_second_factors_code_counts_once_and_a_recovery_code_too(routing: Routing, connect: Connect) -> None:
    await routing.set_up(agents=1)
    await a_person(routing)
    session = await sign_in(routing)
    made = await ask(routing, session, "POST", "/v1/me/second-factor", {"password": PASSWORD}, expect=201)
    await sign_in(routing)  # not asked for before a first code was shown
    totp = pyotp.TOTP(made["secret"])
    codes = await ask(routing, session, "POST", "/v1/me/second-factor/confirm", {"code": totp.now()})
    missing = await sign_in(routing, 401)
    assert missing["errors"][0]["path"] == "code"
    database = await connect("routing")
    await database.execute("update second_factors set last_step = last_step - 5")
    code = totp.now()
    await sign_in(routing, code=code)
    await sign_in(routing, 401, code=code)
    recovery = codes["recovery_codes"][0]
    await sign_in(routing, code=recovery)
    await sign_in(routing, 401, code=recovery)
    assert not await database.fetch("select from second_factors where sealed like '%' || $1 || '%'", made["secret"])
    await ask(routing, session, "POST", "/v1/me/second-factor/remove", {"password": PASSWORD}, expect=204)
    await sign_in(routing)


async def test_a_link_to_a_new_password_is_good_once_and_not_for_long(routing: Routing, connect: Connect) -> None:
    # D-12
    await routing.set_up(agents=1)
    await a_person(routing)
    session = await sign_in(routing)
    for login in ("wang", "nobody"):
        asked = await routing.http.post("/v1/password-resets", json={"account": "acme", "login": login})
        assert (asked.status_code, asked.json()) == (202, {})
    database = await connect("routing")
    assert await database.fetchval("select count(*) from password_resets") == 1
    assert (await routing.http.post("/v1/password-resets/guessed", json={"password": OTHER})).status_code == 404
    token = "a-token-of-this-test"
    await database.execute("update password_resets set token = sha256($1::bytea)", token.encode())
    weak = await routing.http.post(f"/v1/password-resets/{token}", json={"password": "kurz"})
    assert weak.status_code == 422
    await database.execute("update password_resets set expires_at = expires_at - interval '31 minutes'")
    late = await routing.http.post(f"/v1/password-resets/{token}", json={"password": OTHER})
    assert late.status_code == 404
    await database.execute("update password_resets set expires_at = expires_at + interval '31 minutes'")
    used = await routing.http.post(f"/v1/password-resets/{token}", json={"password": OTHER})
    assert used.status_code == 204
    again = await routing.http.post(f"/v1/password-resets/{token}", json={"password": PASSWORD})
    assert again.status_code == 404
    await ask(routing, session, "GET", "/v1/me", expect=401)
    await sign_in(routing, password=OTHER)


async def test_what_a_role_does_not_permit_is_refused_however_one_asks(routing: Routing) -> None:
    # D-05
    await routing.set_up(agents=2)
    await routing.call(
        "POST", "/v1/roles", {"id": "inspector", "name": "质检", "permissions": ["tickets:read"]}, expect=201
    )
    await a_person(routing, roles=["inspector"])
    session = await sign_in(routing)
    await ask(routing, session, "GET", "/v1/tickets")
    await routing.tell("chat.started", "c1")
    ticket = await routing.ticket("c1", "queued")
    path = f"/v1/tickets/{ticket['id']}/note"
    by_token = await ask(routing, session, "POST", path, {"text": "x"}, expect=403)
    assert by_token["permission"] == "tickets:write"
    by_key = await routing.raw("POST", path, {"text": "x"}, agent="a01")
    assert (by_key.status_code, by_key.json()["permission"]) == (403, "tickets:write")
    # The supervisor composes the role anew, and it counts at once.
    role = {"id": "inspector", "name": "质检", "permissions": ["tickets:read", "tickets:write"]}
    await routing.call("PUT", "/v1/roles/inspector", role)
    await ask(routing, session, "POST", path, {"text": "x"})
    # A key that may only act for agents works as their roles permit.
    key = await routing.call("POST", "/v1/keys", {"id": "crm", "scopes": ["act-as"]}, expect=201)
    headers = {"Authorization": f"Bearer {key['key']}", "Kefu-Agent": "a01"}
    assert (await routing.http.post(path, json={"text": "x"}, headers=headers)).status_code == 200


async def test_a_leader_sets_the_presence_of_their_group_and_of_nobody_else(routing: Routing) -> None:
    await routing.set_up(agents=3)
    ticks = {"sources": ["*"], "tiers": ["*"]}
    help_ = {"id": "help", "name": "支援", "leader": "a03", "agents": ["a03"], **ticks}
    await routing.call("POST", "/v1/groups", help_, expect=201)
    group = await routing.call("GET", "/v1/groups/sales")
    await routing.call("PUT", "/v1/groups/sales", {**group, "agents": ["a01", "a02"]})
    await a_person(routing, roles=["leader"])
    session = await sign_in(routing)
    for agent in ("a02", "a03"):
        await routing.sign_in(agent)
    await ask(routing, session, "PUT", "/v1/agents/a02/presence", {"state": "break"})
    await ask(routing, session, "PUT", "/v1/agents/a03/presence", {"state": "break"}, expect=403)
    manager = {"id": "a01", "name": "王芳", "login": "wang", "roles": ["administrator"]}
    await routing.call("PUT", "/v1/agents/a01", manager)
    await ask(routing, session, "PUT", "/v1/agents/a03/presence", {"state": "break"})


async def test_ones_own_profile_is_ones_own_to_change_and_nothing_else_of_it(routing: Routing) -> None:
    # D-04
    await routing.set_up(agents=2)
    await a_person(routing)
    session = await sign_in(routing)
    changed = await ask(
        routing, session, "PUT", "/v1/me", {"name": "王芳芳", "phone": "8009", "email": "f@shop.example"}
    )
    assert (changed["name"], changed["phone"], changed["login"]) == ("王芳芳", "8009", "wang")
    refused = await ask(routing, session, "PUT", "/v1/me", {"name": "王", "roles": ["administrator"]}, expect=422)
    assert refused["errors"][0]["path"] == "roles"
    trail = (await routing.call("GET", "/v1/audit?kind=agent&id=a01"))["items"][0]
    assert trail["by"]["agent"] == "a01"


@pytest.mark.parametrize("cause", ["role", "deleted"])
async def test_another_service_knows_the_token_and_forgets_it_within_two_seconds(routing: Routing, cause: str) -> None:
    await routing.set_up(agents=2)
    await a_person(routing, "a02", roles=["leader"])
    session = await sign_in(routing)
    settings = DatabaseSettings(
        kafka=routing.world.kafka,
        topic_prefix=routing.world.prefix,
        operator_key=SecretStr("operator-key"),
        postgres=SecretStr(routing.world.dsns["reporting"]),
        slot="0",
        sealing_keys=SecretStr(SEALING_KEY),
    )
    app = create_reporting(settings)
    transport = httpx.ASGITransport(app=app)
    token = {"Authorization": f"Bearer {session['token']}"}
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://p") as client:

        async def answers(status: int) -> bool | None:
            return (await client.get("/v1/reports/daily", headers=token)).status_code == status or None

        await until("reporting knows the token", lambda: answers(200))
        if cause == "role":
            await routing.call("PUT", "/v1/agents/a02", {"id": "a02", "name": "王芳", "roles": ["agent"]})
            await until("the role does not permit it any more", lambda: answers(403), 2)
        else:
            group = await routing.call("GET", "/v1/groups/sales")
            await routing.call("PUT", "/v1/groups/sales", {**group, "agents": ["a01"]})
            await routing.call("DELETE", "/v1/agents/a02", expect=204)
            await until("there is no such agent any more", lambda: answers(401), 2)
