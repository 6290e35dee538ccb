"""API keys over HTTP: made, rotated, signing; and mail addresses, which no two sites share."""

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest

from kefu_common.events.directory import ApiKey, Secret
from kefu_common.http.signing import sign
from kefu_common.kafka import topics
from kefu_common.mail_tags import TAG_SIGNER
from kefu_common.sealing import Sealer
from tests.conftest import SEALING_KEY
from tests.routing.service import Connect, Json, Routing, until

TERMS: Json = {"id": "pbx", "adapter": "pbx", "scopes": ["tickets:read"], "rate_per_s": 50}


async def _read(routing: Routing, key: str) -> int:
    return (await routing.http.get("/v1/tickets", headers={"Authorization": f"Bearer {key}"})).status_code


async def _stored(connect: Connect, id: str) -> ApiKey:
    body = await (await connect("routing")).fetchval("select body from directory where kind = 'key' and id = $1", id)
    return ApiKey.model_validate_json(body)


async def test_a_rotated_key_works_with_both_secrets_and_shows_neither(routing: Routing, connect: Connect) -> None:
    await routing.set_up()
    first = (await routing.call("POST", "/v1/keys", TERMS, expect=201))["key"]
    rotated = await routing.call("POST", "/v1/keys/pbx/rotate", {"old_valid_s": 3600}, expect=201)
    assert [await _read(routing, first), await _read(routing, rotated["key"])] == [200, 200]
    shown = await routing.call("GET", "/v1/keys/pbx")
    assert set(shown) == {*TERMS, "sites", "expires_at", "signed", "former_valid_until"}
    assert (shown["rate_per_s"], shown["signed"]) == (50, False)

    # what a key may do is changed without changing its secrets
    await routing.call("PUT", "/v1/keys/pbx", {**TERMS, "scopes": ["reports:read"]})
    assert [await _read(routing, first), await _read(routing, rotated["key"])] == [403, 403]
    await routing.call("PUT", "/v1/keys/pbx", TERMS)
    assert [await _read(routing, first), await _read(routing, rotated["key"])] == [200, 200]

    # as it was read, with another end of the former secret
    past = {**shown, "former_valid_until": "2026-01-01T00:00:00Z"}
    await routing.call("PUT", "/v1/keys/pbx", past)
    assert [await _read(routing, first), await _read(routing, rotated["key"])] == [401, 200]
    await routing.call("PUT", "/v1/keys/pbx", {**shown, "signed": True}, expect=422)

    at_once = await routing.call("POST", "/v1/keys/pbx/rotate", {"old_valid_s": 0}, expect=201)
    keys = (first, rotated["key"], at_once["key"])
    assert [await _read(routing, key) for key in keys] == [401, 401, 200]
    assert (await _stored(connect, "pbx")).hash not in (None, first)
    await routing.call("POST", "/v1/keys/nobody/rotate", {}, expect=404)
    await routing.call("POST", "/v1/keys/pbx/rotate", {"old_valid_s": -1}, expect=422)


async def _signed(routing: Routing, secret: str, method: str, path: str, body: bytes = b"") -> httpx.Response:
    timestamp = str(int(datetime.now(UTC).timestamp()))
    signature = sign(secret, timestamp, method, path, body).decode()
    headers = {"Kefu-Key": "acme/pbx", "Kefu-Timestamp": timestamp, "Kefu-Signature": signature}
    return await routing.http.request(method, path, content=body, headers=headers)


async def test_a_key_that_signs_has_a_secret_that_is_kept_sealed(routing: Routing, connect: Connect) -> None:
    await routing.set_up()
    scopes = ["directory:write", "tickets:read"]
    made = await routing.call("POST", "/v1/keys", {**TERMS, "scopes": scopes, "signed": True}, expect=201)
    assert "key" not in made
    secret = made["signing_secret"]
    stored = await _stored(connect, "pbx")
    assert stored.hash is None
    assert stored.sealed is not None
    assert secret not in stored.sealed
    assert Sealer.of(SEALING_KEY).open(stored.sealed) == secret

    assert (await _signed(routing, secret, "GET", "/v1/tickets?limit=1")).status_code == 200
    site = b'{"id": "signed", "name": "s"}'
    assert (await _signed(routing, secret, "POST", "/v1/sites", site)).status_code == 201
    assert (await _signed(routing, "other", "GET", "/v1/tickets")).status_code == 401
    assert await _read(routing, secret) == 401
    rotated = await routing.call("POST", "/v1/keys/pbx/rotate", {}, expect=201)
    for each in (secret, rotated["signing_secret"]):
        assert (await _signed(routing, each, "GET", "/v1/tickets")).status_code == 200


async def test_each_account_has_a_secret_of_its_own_for_tags(routing: Routing) -> None:
    await routing.set_up()
    entries = await routing.read(topics.DIRECTORY, 3)
    [entry] = [e for e in entries if e.key == f"acme/secret/{TAG_SIGNER}".encode()]
    assert b'"sealed"' in entry.value
    secret = Secret.model_validate(json.loads(entry.value)["data"]["body"])
    assert Sealer.of(SEALING_KEY).open(secret.sealed)
    await routing.call("GET", "/v1/secrets", expect=404)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"id": "a", "address": "service@shop.example", "site": "moon"}, "site"),
        ({"id": "a", "address": "service", "site": "shop"}, "address"),
        ({"id": "a", "address": "service+x@shop.example", "site": "shop"}, "address"),
        ({"id": "a", "address": "a b@shop.example", "site": "shop"}, "address"),
    ],
)
async def test_a_wrong_mail_address_is_refused(shared: Routing, body: Json, path: str) -> None:
    refused = await shared.call("POST", "/v1/addresses", body, expect=422)
    assert [e["path"] for e in refused["errors"]] == [path]


async def test_no_address_belongs_to_two_sites_of_whatever_account(routing: Routing) -> None:
    await routing.set_up()
    operator = {"Authorization": "Bearer operator-key"}
    other = await routing.http.post("/v1/accounts", json={"id": "b", "short_name": "b"}, headers=operator)
    theirs = {"Authorization": f"Bearer {other.json()['keys']['admin']}"}
    await routing.http.post("/v1/sites", json={"id": "b", "name": "b"}, headers=theirs)

    ours: Json = {"id": "service", "address": "Service@Shop.example", "site": "shop"}
    foreign = {"id": "x", "address": "service@shop.example", "site": "b"}
    answers = await asyncio.gather(
        routing.raw("POST", "/v1/addresses", ours),
        routing.http.post("/v1/addresses", json=foreign, headers=theirs),
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    winner, loser = sorted(answers, key=lambda answer: answer.status_code)
    assert winner.json()["address"] == "service@shop.example"
    assert "already" in loser.json()["detail"]
    refused = await routing.call("DELETE", "/v1/sites/shop", expect=409)
    assert refused["used_by"][0] == "plan/shop"


async def test_a_site_has_a_country(shared: Routing) -> None:
    refused = await shared.call("POST", "/v1/sites", {"id": "r", "name": "r", "region": "XX"}, expect=422)
    assert [e["path"] for e in refused["errors"]] == ["region"]
    made = await shared.call("POST", "/v1/sites", {"id": "r", "name": "r", "region": "HK"}, expect=201)
    assert made["region"] == "HK"


async def test_who_rings_is_known_by_the_number(routing: Routing) -> None:
    # K-02
    await routing.set_up()
    for n in range(2):
        await routing.tell("call.started", f"call-{n}", **{"from": "+8613800138000"})
    await routing.tell("call.started", "withheld", **{"from": "0"})
    known = {(await routing.ticket(f"call-{n}"))["contact"] for n in range(2)}
    assert len(known) == 1
    assert (await routing.ticket("withheld"))["contact"] not in known
    contact = await routing.call("GET", f"/v1/contacts/{known.pop()}")
    assert contact["phone"] == "+8613800138000"


async def test_a_stranger_s_html_is_shown_without_what_could_run_or_spy(routing: Routing) -> None:
    await routing.set_up()
    html = '<p onclick="x()">您好</p><script>x()</script><img src="https://spy.example/1.gif"><img src="cid:a">'
    html += '<a href="javascript:x()">y</a>'
    await routing.tell("email.received", "m1", html=html, attachments=[])
    ticket = await routing.ticket("m1")

    async def shown() -> str | None:
        items = (await routing.call("GET", f"/v1/tickets/{ticket['id']}/messages"))["items"]
        return items[0]["html"] if items else None

    found = await until("the mail", shown)
    assert found.startswith('<p>您好</p><img><img src="cid:a">')
    assert "script" not in found
    missing = await routing.raw("GET", f"/v1/tickets/{ticket['id']}/messages/{ticket['id']}/attachments/0")
    assert missing.status_code == 404
