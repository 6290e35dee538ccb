"""From what Kafka gives to events: raw bytes in, so that nothing a record holds can stop the reader."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faststream.kafka import KafkaMessage
from faststream.kafka.message import KafkaAckableMessage
from opentelemetry.trace import Span, SpanKind
from pydantic import BaseModel

from kefu_common.events.envelope import Event, Unreadable, read_event
from kefu_common.kafka.batch import Received, Record
from kefu_common.kafka.dead_letters import SetAside
from kefu_common.telemetry import tracing

D = TypeVar("D", bound=BaseModel)
Raw = tuple["ConsumerRecord[Any, Any]", ...]


def parser(consumer: Callable[[], AIOKafkaConsumer]) -> Callable[[Raw], Awaitable[KafkaAckableMessage]]:
    """The framework's own decodes every header as UTF-8, so that one odd header would block its partition."""

    async def parse(records: Raw) -> KafkaAckableMessage:
        return KafkaAckableMessage(raw_message=records, body=b"", consumer=consumer())

    return parse


async def undecoded(_message: KafkaMessage) -> bytes:
    """The framework's decoder would read JSON; we read it ourselves."""
    return b""


def record_of(raw: "ConsumerRecord[Any, Any]", prefix: str) -> Record:
    """A record without the framework."""
    key_bytes: bytes | None = raw.key
    # PostgreSQL's text takes neither; what is kept by key would fail, and the reader with it.
    key = (key_bytes or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")
    headers = tuple((name, value if value is not None else b"") for name, value in raw.headers)
    raw_key = None if key_bytes is None or (key and key.encode() == key_bytes) else key_bytes
    topic = raw.topic.removeprefix(prefix)
    return Record(topic, raw.partition, raw.offset, raw.timestamp, key, raw.value, headers, raw_key)


def read(records: Sequence[Record], models: dict[str, type[D]]) -> tuple[list[Received[D]], list[SetAside]]:
    """The events, and what is no event that this code knows."""
    received: list[Received[D]] = []
    asides: list[SetAside] = []
    for record in records:
        try:
            received.append(Received(read_event(record.value, models), record))
        except Unreadable as unreadable:
            asides.append(SetAside(record, unreadable.reason, unreadable.detail))
    return received, asides


def with_spans(received: Sequence[Received[D]], topic: str, link: str | None) -> tuple[list[Received[D]], list[Span]]:
    """Give each sampled event its own `process` span under its own context, linked to the batch's."""
    traced: list[Received[D]] = []
    spans: list[Span] = []
    for r in received:
        event: Event[D] = r.event
        span = tracing.start_span(
            f"process {event.type}",
            SpanKind.CONSUMER,
            event.traceparent,
            {
                "messaging.system": "kafka",
                "messaging.destination.name": topic,
                "messaging.operation.type": "process",
                "messaging.kafka.offset": r.record.offset,
                "kefu.account": event.account,
                **tracing.ticket_of(event.subject, event.sequence, getattr(event.data, "ticket", None)),
            },
            [link] if link else (),
        )
        if span is not None:
            spans.append(span)
            r = Received(event.traced(tracing.traceparent_of(span)), r.record, span)
        traced.append(r)
    return traced, spans
