"""The running service with a real Kafka: what is on the topic when it says 202, and what it refuses."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from kefu_common.events.envelope import CONTENT_TYPE
from tests.intake.building import A_REF, EXAMPLES, a_key, a_post, body_of
from tests.intake.conftest import knows
from tests.intake.corpus import CASES, Case
from tests.intake.running import Intake, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AUTH = {"Authorization": "Bearer secret"}
IN_FORCE_S = 2.0


@pytest.mark.parametrize(
    ("path", "type", "data"),
    [(p, t, d) for p, examples in EXAMPLES.items() for t, d in examples],
    ids=lambda v: str(v)[:20],
)
async def test_every_type_reaches_the_topic_before_its_202(
    intake: Intake, path: str, type: str, data: dict[str, object]
) -> None:
    # B-01, H-04, O-08, O-09: every channel, form and messenger comes in alike, and `source` tells them apart
    post = a_post(type, interaction=f"each-{type}", source="hotline", contact={"name": "王芳"})

    answer = await intake.post(path, post)

    assert answer.status_code == 202
    [record] = await intake.records(f"each-{type}")
    [event] = await intake.events(f"each-{type}")
    assert answer.json() == {"id": "e-1", "interaction": f"each-{type}", "event": str(event.id)}
    assert (event.type, event.source, event.account, event.adapter) == (f"kefu.{type}", "/sites/shop", "acme", "pbx")
    assert dict(record.headers)["content-type"] == CONTENT_TYPE.encode()
    whole = json.loads(record.value or b"")
    described = {"type": "image/jpeg", "size": 12, "sha256": "a1" * 32}
    if "attachments" in data:
        data = data | {"attachments": [{"ref": A_REF, "name": "照片.jpg", **described}]}
    assert data.items() <= whole["data"].items()
    assert whole["data"]["source"] == "hotline"
    assert whole["data"]["contact"] == {"name": "王芳"}


async def test_posting_again_gives_the_same_event(intake: Intake) -> None:
    post = a_post(interaction="again")
    first, second = await intake.post("chats", post), await intake.post("chats", post)
    assert first.json() == second.json()
    one, two = await intake.records("again")
    assert json.loads(one.value or b"")["data"] == json.loads(two.value or b"")["data"]
    assert one.value == two.value


async def test_what_the_key_says_is_stamped(intake: Intake) -> None:
    await intake.post("chats", a_post(interaction="no-adapter"), key="chats-secret")
    [event] = await intake.events("no-adapter")
    assert event.adapter is None


async def test_the_caller_s_trace_travels_on_and_nothing_else_does(intake: Intake) -> None:
    headers = AUTH | {"traceparent": TRACEPARENT}
    await intake.post_bytes("chats", body_of(a_post(interaction="traced")), headers)
    for odd in ("x" * 4000, TRACEPARENT + "-more", TRACEPARENT.upper()):
        await intake.post_bytes("chats", body_of(a_post(interaction="odd")), AUTH | {"traceparent": odd})
    [record] = await intake.records("traced")
    [event] = await intake.events("traced")
    assert (event.traceparent, dict(record.headers)["traceparent"]) == (TRACEPARENT, TRACEPARENT.encode())
    assert {name for r in await intake.records("odd") for name, _ in r.headers} == {"content-type"}
    assert {event.traceparent for event in await intake.events("odd")} == {None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_body_gets_its_answer_over_http(intake: Intake, case: Case) -> None:
    answer = await intake.post_bytes(case.path, case.body, AUTH)
    assert answer.status_code == case.status, answer.text
    if isinstance(case.expected, frozenset):
        assert {error["path"] for error in answer.json()["errors"]} == case.expected
    if case.status != 202:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_array_is_answered_item_by_item(intake: Intake) -> None:
    items: list[object] = [
        a_post(id="1", interaction="array"),
        a_post(id="2", interaction="array", contact={"phon": "1"}),
        a_post("call.started", id="3"),
        7,
        a_post(id="5", site="nowhere"),
        a_post(id="6", occurred_at=(datetime.now(UTC) + timedelta(minutes=6)).isoformat()),
        a_post(id="7", interaction="array"),
    ]
    answer = await intake.post("chats", items)
    assert answer.status_code == 200
    assert "retry-after" not in answer.headers
    got = answer.json()["items"]
    assert [(item["id"], item["status"]) for item in got] == [
        *(("1", 202), ("2", 422), ("3", 422), (None, 422), ("5", 422), ("6", 422), ("7", 202)),
    ]
    assert [[e["path"] for e in item["errors"]] for item in got if item["status"] == 422] == [
        *(["contact.phon"], ["type"], [""], ["site"], ["occurred_at"]),
    ]
    assert [str(event.id) for event in await intake.events("array")] == [got[0]["event"], got[6]["event"]]
    alone = await intake.post("chats", items[0])
    assert alone.json()["event"] == got[0]["event"]


async def test_an_item_for_a_site_that_the_key_does_not_cover_is_its_own_403(intake: Intake) -> None:
    items = [a_post(id="1"), a_post(id="2", site="night"), a_post(id="3", site="closed")]
    answer = await intake.post("chats", items, key="night-secret")
    assert [item["status"] for item in answer.json()["items"]] == [403, 202, 422]
    alone = await intake.post("chats", items[0], key="night-secret")
    assert (alone.status_code, alone.json()["type"]) == (403, "urn:kefu:problem:forbidden")


async def test_a_thousand_events_are_an_array_and_one_more_is_too_large(intake: Intake) -> None:
    items = [a_post(id=f"{n}", interaction="thousand") for n in range(1000)]
    answer = await intake.post("chats", items)
    assert {item["status"] for item in answer.json()["items"]} == {202}
    written = [json.loads(record.value or b"")["id"] for record in await intake.records("thousand")]
    assert written == [item["event"] for item in answer.json()["items"]]
    assert (await intake.post("chats", [*items, 1])).status_code == 413
    assert (await intake.post("chats", [])).json() == {"items": []}


@pytest.mark.parametrize("lead", ["", " \n"])
async def test_a_large_array_is_taken_and_only_its_oversized_event_is_not(intake: Intake, lead: str) -> None:
    html = "x" * 1_040_000
    items = [a_post("email.received", id=str(n), interaction=f"large{n}", data={"html": html}) for n in range(7)]
    items.insert(3, a_post("email.received", id="big", data={"html": html, "text": "y" * 20_000}))
    answer = await intake.post_bytes("emails", lead.encode() + body_of(items), AUTH)
    assert [item["status"] for item in answer.json()["items"]] == [202, 202, 202, 413, 202, 202, 202, 202]


@pytest.mark.parametrize(
    ("size", "lead", "status"),
    [
        (2**20, b'{"id":"', 400),
        (2**20 + 1, b'{"id":"', 413),
        (2**20 + 1, b' \n{"id":"', 413),
        (2**23, b'["', 400),
        (2**23 + 1, b'["', 413),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_what_is_too_large_is_refused(
    intake: Intake, size: int, lead: bytes, status: int, is_chunked: bool
) -> None:
    body = lead.ljust(size, b"x")

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 2**16):
            yield body[start : start + 2**16]

    headers = AUTH | {"Content-Type": "application/json"}
    answer = await intake.client.post("/v1/chats", content=pieces() if is_chunked else body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_declared_length_is_refused_before_the_body_comes(intake: Intake) -> None:
    head = "POST /v1/chats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", intake.client.base_url.port or 0), timeout=5) as connection:
        connection.sendall(f"{head}Content-Length: {2**23 + 1}\r\n\r\n".encode())
        answer = await asyncio.to_thread(connection.recv, 100)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"Content-Type": "application/json; charset=UTF-8"}, 202),
        ({"Content-Type": 'Application/JSON;charset="utf-8"'}, 202),
        ({"Content-Type": "application/json; charset=gbk"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/cloudevents+json"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        ({"Authorization": "Bearer unknown"}, 401),
        ({"Authorization": "Bearer old-secret"}, 401),
        ({"Authorization": "bearer  secret"}, 202),
        ({"Authorization": "Bearer operator"}, 403),
        ({"Kefu-Agent": "a01"}, 403),
    ],
    ids=str,
)
async def test_headers_decide(intake: Intake, given: dict[str, str], status: int) -> None:
    answer = await intake.post_bytes("chats", body_of(a_post(interaction="headers")), AUTH | given)
    assert answer.status_code == status, answer.text


async def test_a_key_needs_the_path_s_scope(intake: Intake) -> None:
    assert (await intake.post("chats", a_post(), key="chats-secret")).status_code == 202
    refused = await intake.post("calls", a_post("call.started"), key="chats-secret")
    assert (refused.status_code, refused.json()["detail"]) == (403, "the key lacks the scope calls:write")
    assert (await intake.post("calls", [a_post("call.started")], key="chats-secret")).status_code == 403


async def test_another_account_s_site_is_no_site(intake: Intake) -> None:
    answer = await intake.post("chats", a_post(site="shop"), key="b-secret")
    assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (422, ["site"])
    assert (await intake.post("chats", a_post(site="b-shop", interaction="b"), key="b-secret")).status_code == 202
    [record] = await intake.records("b", account="b-corp")
    assert json.loads(record.value or b"")["account"] == "b-corp"


@pytest.mark.parametrize("offset", [timedelta(minutes=5, seconds=30), timedelta(days=-7, minutes=-1)], ids=str)
async def test_a_time_far_away_is_422(intake: Intake, offset: timedelta) -> None:
    answer = await intake.post("chats", a_post(occurred_at=(datetime.now(UTC) + offset).isoformat()))
    assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (422, ["occurred_at"])


async def test_the_directory_is_in_force_within_two_seconds(intake: Intake) -> None:
    assert (await intake.post("chats", a_post(), key="new-secret")).status_code == 401

    await intake.set("key", "new", a_key("new-secret", "new"))
    await until(lambda: knows(intake, "new-secret"), IN_FORCE_S)

    async def is_gone() -> bool:
        return (await intake.post("chats", a_post(), key="new-secret")).status_code == 401

    await intake.set("key", "new", None, version=2)
    await until(is_gone, IN_FORCE_S)

    # an older version that comes late does not bring it back
    await intake.set("key", "new", a_key("new-secret", "new"), version=1)
    await intake.set("key", "mark", a_key("mark-secret", "mark"))
    await until(lambda: knows(intake, "mark-secret"), IN_FORCE_S)
    assert await is_gone()


async def test_a_new_site_takes_events_within_two_seconds(intake: Intake) -> None:
    async def is_taken() -> bool:
        return (await intake.post("chats", a_post(site="fresh"))).status_code == 202

    assert not await is_taken()
    await intake.set("site", "fresh", {"id": "fresh", "name": "fresh"})
    await until(is_taken, IN_FORCE_S)


async def test_metrics_count_what_was_accepted(intake: Intake) -> None:
    async def count() -> float:
        lines = (await intake.client.get("/metrics")).text.splitlines()
        name = 'kefu_events_accepted_total{type="kefu.message.left"} '
        return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)

    before = await count()
    await intake.post("messages", [a_post("message.left"), a_post("message.left", id=7)])
    await intake.post("messages", a_post("message.left"))
    assert await count() == before + 2
    text = (await intake.client.get("/metrics")).text
    assert 'kefu_accept_seconds_count{status="202"}' in text
    assert 'kefu_accept_seconds_count{status="422"}' in text
    assert 'route="/v1/messages",status="202"' in text


async def test_the_openapi_document_names_every_form(intake: Intake) -> None:
    document = (await intake.client.get("/openapi.json")).json()
    assert set(document["paths"]) == {f"/v1/{path}" for path in (*EXAMPLES, "events", "emails/raw", "attachments")}
    post = document["paths"]["/v1/chats"]["post"]
    assert set(post["responses"]) == {"200", "202", "400", "401", "403", "413", "415", "422", "429", "503"}
    forms = document["components"]["schemas"]
    assert forms["CallAnsweredForm"]["required"] == ["id", "type", "site", "interaction", "occurred_at", "data"]
    assert forms["ChatMessageForm"]["additionalProperties"] is False
    assert set(_references(document)) <= {f"#/components/schemas/{name}" for name in forms}


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []


async def test_other_methods_and_paths_are_problems(intake: Intake) -> None:
    assert (await intake.client.get("/v1/chats")).status_code == 405
    assert (await intake.client.post("/v1/nothing")).status_code == 404
    assert (await intake.client.get("/readyz")).json() == {"status": "ready", "reasons": []}
