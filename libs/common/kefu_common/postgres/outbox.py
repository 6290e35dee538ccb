"""The outbox: events are written in the transaction that made them true, and published afterwards by the relay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from kefu_common.events.envelope import CONTENT_TYPE, Event
from kefu_common.kafka.producer import Outgoing, RecordTooLarge
from kefu_common.kafka.topics import MAX_RECORD_BYTES, Topic, largest_record
from kefu_common.postgres.database import Connection
from kefu_common.postgres.writes import Writes

SHARDS = 16
_SURELY_TAKEN = MAX_RECORD_BYTES // 2


@dataclass(frozen=True, slots=True)
class Row:
    """One record to be published. `topic` is without the deployment's prefix; headers are text."""

    topic: str
    key: str
    value: bytes
    headers: dict[str, str] | None = None

    @property
    def at_most_bytes(self) -> int:
        """The record is no larger than this; its exact size costs more to find out."""
        headers = (self.headers or {}).items()
        return len(self.value) + 4 * len(self.key) + sum(4 * (len(name) + len(text)) + 10 for name, text in headers)

    def record(self, prefix: str = "") -> Outgoing:
        """The record that it becomes."""
        headers = tuple((name, value.encode()) for name, value in (self.headers or {}).items())
        return Outgoing(prefix + self.topic, self.key.encode(), self.value, headers, largest_record(self.topic))


def event_row(topic: Topic, key: str, event: Event[Any]) -> Row:
    """An event as an outbox row; its trace context also goes into the record's headers."""
    headers = {"content-type": CONTENT_TYPE}
    if event.traceparent is not None:
        headers["traceparent"] = event.traceparent
    return Row(topic.name, key, event.to_bytes(), headers)


def shard_of(key: str) -> int:
    """All rows of a key lie in one shard, which one relay at a time publishes in order."""
    return crc32(key.encode()) % SHARDS


async def add(tx: Connection, rows: Sequence[Row]) -> None:
    """Add rows in order. Per key that order is the commit order only if the caller holds a lock per key.

    Raises:
        RecordTooLarge: Kafka would never take one of them, and all that comes after it would wait for it.
    """
    writes = Writes()
    add_to(writes, rows)
    await writes.run(tx)


def add_to(writes: Writes, rows: Sequence[Row]) -> None:
    """The same, together with other writes. Raises `RecordTooLarge`."""
    if not rows:
        return
    for row in rows:
        if row.at_most_bytes > _SURELY_TAKEN:
            record = row.record()
            if record.size > record.at_most:
                raise RecordTooLarge(record.size, record.at_most)
    writes.add(
        "insert into outbox (shard, topic, key, value, headers)"
        " select * from unnest($1::smallint[], $2::text[], $3::text[], $4::bytea[], $5::jsonb[])",
        [shard_of(r.key) for r in rows],
        [r.topic for r in rows],
        [r.key for r in rows],
        [r.value for r in rows],
        [r.headers for r in rows],
    )
