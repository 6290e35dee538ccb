"""`/v1/events`: CloudEvents 1.0 over HTTP, structured, in batches and binary."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.intake.building import Json
from tests.intake.running import Intake

AUTH = {"Authorization": "Bearer secret"}
ONE, BATCH, PLAIN = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"


def a_cloud_event(**changes: Any) -> Json:
    """A good one; `...` as a change's value leaves that attribute out."""
    whole = {
        "specversion": "1.0",
        "id": "e-1",
        "type": "kefu.chat.message",
        "source": "/sites/shop",
        "subject": "i-1",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {"text": "烤箱坏了", "source": "app", "contact": {"name": "王芳"}},
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


async def post(intake: Intake, body: object, kind: str = ONE, **headers: str) -> httpx.Response:
    return await intake.post_bytes("events", json.dumps(body).encode(), {"Content-Type": kind, **AUTH, **headers})


@pytest.mark.parametrize("kind", [ONE, PLAIN])
async def test_a_cloud_event_is_the_same_event_as_the_simple_form(intake: Intake, kind: str) -> None:
    at = datetime.now(UTC).isoformat()
    simple: Json = {
        "id": "ce-1",
        "type": "chat.message",
        "site": "shop",
        "interaction": f"ce {kind}",
        "occurred_at": at,
    }
    simple |= {"source": "app", "contact": {"name": "王芳"}, "data": {"text": "烤箱坏了"}}
    first = await intake.post("chats", simple)
    second = await post(intake, a_cloud_event(id="ce-1", subject=f"ce {kind}", time=at), kind)
    assert (first.status_code, second.status_code, second.json()) == (202, 202, first.json())
    one, two = await intake.records(f"ce {kind}")
    assert one.value == two.value


async def test_a_batch_is_answered_item_by_item(intake: Intake) -> None:
    events = [
        a_cloud_event(id="b-1", subject="batch"),
        a_cloud_event(id="b-2", subject="batch", type="kefu.call.held", data=...),
        a_cloud_event(id="b-3", source="shop"),
        a_cloud_event(id="b-4", type="chat.message"),
    ]
    for kind in (BATCH, PLAIN):
        answer = await post(intake, events, kind)
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [(item["id"], item["status"]) for item in items] == [
            ("b-1", 202),
            ("b-2", 202),
            ("b-3", 422),
            ("b-4", 422),
        ]
        assert [e["path"] for item in items[2:] for e in item["errors"]] == ["source", "type"]
    assert [e.type for e in await intake.events("batch")][:2] == ["kefu.chat.message", "kefu.call.held"]


async def test_a_batch_is_an_array_and_one_event_is_none(intake: Intake) -> None:
    assert (await post(intake, a_cloud_event(), BATCH)).status_code == 422
    assert (await post(intake, [a_cloud_event()], ONE)).status_code == 422


async def test_in_binary_mode_the_attributes_are_headers(intake: Intake) -> None:
    event = a_cloud_event(subject="binary")
    headers = {f"ce-{name}": str(value) for name, value in event.items() if name not in ("data", "datacontenttype")}
    answer = await post(intake, event["data"], PLAIN, **headers | {"ce-subject": "%E5%8F%B7-1", "ce-traceparent": "x"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["interaction"] == "号-1"
    without_data = headers | {"ce-type": "kefu.chat.ended", "ce-subject": "binary"}
    empty = await intake.post_bytes("events", b"", {"Content-Type": PLAIN, **AUTH, **without_data})
    assert empty.status_code == 202, empty.text
    refused = await post(intake, {"words": "x"}, PLAIN, **headers)
    assert (refused.status_code, [e["path"] for e in refused.json()["errors"]]) == (422, ["data.words"])
    broken = await intake.post_bytes("events", b"{", {"Content-Type": PLAIN, **AUTH, **headers})
    assert broken.status_code == 400


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (a_cloud_event(specversion="0.3"), "specversion"),
        (a_cloud_event(specversion=...), "specversion"),
        (a_cloud_event(id=...), "id"),
        (a_cloud_event(id=""), "id"),
        (a_cloud_event(source="/places/shop"), "source"),
        (a_cloud_event(source="/sites/nowhere"), "site"),
        (a_cloud_event(subject=...), "subject"),
        (a_cloud_event(time="yesterday"), "time"),
        (a_cloud_event(datacontenttype="text/plain"), "datacontenttype"),
        (a_cloud_event(data="text"), "data"),
        (a_cloud_event(data={"colour": "red"}), "data.colour"),
        (a_cloud_event(data={"contact": {"phon": "1"}}), "data.contact.phon"),
        (a_cloud_event(type="kefu.call.answered", data={}), "data.agent"),
        (a_cloud_event(type="kefu.call.answered", data=...), "data"),
        (a_cloud_event(data=..., data_base64="AA=="), "data_base64"),
    ],
)
async def test_a_wrong_attribute_is_named(intake: Intake, event: Json, path: str) -> None:
    answer = await post(intake, event)
    assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (422, [path])


async def test_each_type_needs_its_own_scope(intake: Intake) -> None:
    key = {"Authorization": "Bearer chats-secret"}
    assert (await post(intake, a_cloud_event(), **key)).status_code == 202
    refused = await post(intake, a_cloud_event(type="kefu.call.held", data=...), **key)
    assert (refused.status_code, refused.json()["detail"]) == (403, "the key lacks the scope calls:write")
    mixed = await post(intake, [a_cloud_event(), a_cloud_event(type="kefu.call.held", data=...)], BATCH, **key)
    assert [item["status"] for item in mixed.json()["items"]] == [202, 403]


async def test_extensions_are_taken_and_the_account_comes_from_the_key_alone(intake: Intake) -> None:
    event = a_cloud_event(subject="extended", account="b-corp", traceparent="x", comexampleext=1)
    assert (await post(intake, event)).status_code == 202
    [record] = await intake.records("extended")
    assert json.loads(record.value or b"")["account"] == "acme"


async def test_other_media_types_are_415(intake: Intake) -> None:
    assert (await post(intake, a_cloud_event(), "text/plain")).status_code == 415
