"""CloudEvents 1.0 in structured JSON: how every event of Kefu travels (design, section 3)."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json, to_json

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "kefu."
SCHEMA_BASE = "https://kefu.example/schemas/"

D = TypeVar("D", bound=BaseModel)


class EventData(BaseModel):
    """Base of every event's data. A reader ignores fields that a newer writer added."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class Unreadable(Exception):
    """Bytes from a topic that are no event which this code knows; `reason` is a closed word, `detail` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Event(Generic[D]):
    """One event. `type` carries the `kefu.` prefix; `time` is when it happened; `source` is `/sites/{site}`."""

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    account: str
    data: D
    sequence: int | None = None
    adapter: str | None = None
    traceparent: str | None = None

    @property
    def site(self) -> str:
        """The site named by `source`; empty for events that belong to no site."""
        return self.source.removeprefix("/sites/") if self.source.startswith("/sites/") else ""

    def to_bytes(self) -> bytes:
        """The structured JSON form, UTF-8."""
        fields: dict[str, object] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "dataschema": f"{SCHEMA_BASE}{self.type}",
            "account": self.account,
        }
        # An attribute without a value is left out: CloudEvents knows no null.
        if self.sequence is not None:
            fields["sequence"] = self.sequence
        if self.adapter is not None:
            fields["adapter"] = self.adapter
        if self.traceparent is not None:
            fields["traceparent"] = self.traceparent
        fields["data"] = self.data
        return to_json(fields, exclude_none=True)

    def traced(self, traceparent: str | None) -> "Event[D]":
        """The same event in another trace context."""
        return replace(self, traceparent=traceparent)


class _Attributes(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: UUID
    source: str
    type: str
    subject: str
    time: AwareDatetime
    account: str
    sequence: int | None = None
    adapter: str | None = None
    traceparent: str | None = None


def read_event(raw: bytes | None, models: dict[str, type[D]]) -> Event[D]:
    """Parse a record's value into an event whose data is one of `models` (by full type).

    Raises:
        Unreadable: `not_json`, `not_an_event`, `unknown_type` or `invalid_data`.
    """
    try:
        fields: Any = from_json(raw or b"")
    except ValueError as error:
        raise Unreadable("not_json", str(error)) from None
    try:
        attributes = _Attributes.model_validate(fields)
    except ValidationError as error:
        raise Unreadable("not_an_event", _paths(error)) from None
    model = models.get(attributes.type)
    if model is None:
        raise Unreadable("unknown_type", attributes.type)
    try:
        data = model.model_validate(fields.get("data"))
    except ValidationError as error:
        raise Unreadable("invalid_data", _paths(error)) from None
    return Event(
        attributes.id,
        attributes.type,
        attributes.source,
        attributes.subject,
        attributes.time,
        attributes.account,
        data,
        attributes.sequence,
        attributes.adapter,
        attributes.traceparent,
    )


def body_hash(event: Event[Any]) -> bytes:
    """16 bytes that differ when an event with the same id says something else; the trace context does not count."""
    body = to_json([event.type, event.source, event.subject, event.time, event.data], exclude_none=True)
    return hashlib.blake2b(body, digest_size=16).digest()


def _paths(error: ValidationError) -> str:
    # Only where and what kind: the values may be personal data, and a reason is shown to operators.
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['type']}" for e in found[:5])
