"""What a consumer hands to a service: records that were read into events."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from opentelemetry.trace import Span
from pydantic import BaseModel

from kefu_common.events.envelope import Event

D = TypeVar("D", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as Kafka gave it. `topic` is without the deployment's prefix; `key` is text that Postgres takes."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    raw_key: bytes | None = None
    """The key's own bytes where `key` cannot say them."""

    @property
    def key_bytes(self) -> bytes | None:
        """The key as it was written."""
        return self.raw_key if self.raw_key is not None else self.key.encode() or None

    @property
    def written_at(self) -> datetime:
        """When Kafka wrote it down."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    def header(self, name: str) -> str | None:
        """The first header of that name, as text."""
        for header, value in self.headers:
            if header == name:
                return value.decode("utf-8", "replace")
        return None


@dataclass(frozen=True, slots=True)
class Received(Generic[D]):
    """An event and the record that it came in. The event's `traceparent` is already that of its `process` span."""

    event: Event[D]
    record: Record
    span: Span | None = None
    """Its `process` span, where it is sampled: for what is known of the event only after it was applied."""
