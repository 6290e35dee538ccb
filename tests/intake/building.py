"""Builders of what adapters post, and of the directory's events."""

import json
from datetime import UTC, datetime, timedelta

from kefu_common.events.directory import DirectoryEntry, Kind
from kefu_common.events.envelope import Event
from kefu_common.http.auth import hash_key
from kefu_common.ids import new_id
from kefu_common.kafka.producer import Outgoing
from kefu_common.kafka.topics import DIRECTORY

Json = dict[str, object]
ALL_SCOPES = [f"{path}:write" for path in ("calls", "chats", "emails", "messages", "visits", "ratings", "outcomes")]
A_REF = f"{'a1' * 32}/12/image/jpeg"
EXAMPLES: dict[str, list[tuple[str, Json]]] = {
    "calls": [
        ("call.started", {"from": "+8613800138000", "to": "4001234567", "ringing_s": 1.5}),
        ("call.answered", {"agent": "a01"}),
        ("call.held", {}),
        ("call.resumed", {}),
        ("call.transferred", {"to": "a02"}),
        ("call.ended", {"cause": "normal", "duration_s": 61, "recording": "rec-1"}),
    ],
    "chats": [
        ("chat.started", {"page": "https://shop.example/烤箱"}),
        ("chat.message", {"text": "烤箱坏了", "attachments": [{"ref": A_REF, "name": "照片.jpg"}], "from": "contact"}),
        ("chat.ended", {"by": "contact"}),
    ],
    "emails": [
        (
            "email.received",
            {
                "subject": "退款",
                "text": "请退款",
                "html": "<p>请退款</p>",
                "headers": {"To": "a@b", "Received": ["x", "y"]},
            },
        )
    ],
    "messages": [("message.left", {"text": "请回电"})],
    "visits": [("visit.seen", {"page": "https://shop.example/烤箱", "referrer": "https://search.example/?q=烤箱"})],
    "ratings": [("rating.given", {"score": 5, "comment": "好"})],
    "outcomes": [(f"instruction.{what}", {"instruction": "i-1"}) for what in ("done", "failed", "delivered", "read")],
}
"""For every type one good example of its data."""


def a_post(type: str = "chat.message", **changes: object) -> Json:
    """A good event of the type; `...` as a change's value leaves that field out."""
    data = next(data for examples in EXAMPLES.values() for name, data in examples if name == type)
    whole: Json = {
        "id": "e-1",
        "type": type,
        "site": "shop",
        "interaction": "i-1",
        "occurred_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
        "data": data,
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def body_of(post: object) -> bytes:
    """The bytes of a post."""
    return json.dumps(post, ensure_ascii=False).encode()


def directory_record(prefix: str, account: str, kind: Kind, id: str, body: Json | None, version: int = 1) -> Outgoing:
    """What routing would publish when an object of the directory changed; a body of None deletes it."""
    entry = DirectoryEntry(kind=kind, object_id=id, version=version, deleted=body is None, body=body)
    place = f"{account}/{kind}/{id}"
    event = Event(new_id(), "kefu.directory.changed", "/directory", place, datetime.now(UTC), account, entry)
    return Outgoing(prefix + DIRECTORY.name, place.encode(), event.to_bytes())


def a_key(secret: str, id: str = "adapter", **changes: object) -> Json:
    """The directory's entry of an API key that may write everything."""
    return {"id": id, "adapter": "pbx", "scopes": ALL_SCOPES, "sites": None, "hash": hash_key(secret), **changes}
