"""Dead letters: what could not be processed, with its reason, to be looked at and replayed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from kefu_common.kafka.batch import Record
from kefu_common.kafka.producer import Outgoing
from kefu_common.kafka.topics import MAX_DEAD_LETTER_BYTES, dead_letters_of
from kefu_common.postgres.outbox import Row

REASON: Final = "kefu-reason"
DETAIL: Final = "kefu-detail"
TOPIC: Final = "kefu-topic"
PARTITION: Final = "kefu-partition"
OFFSET: Final = "kefu-offset"
REPLAYED: Final = "kefu-replayed"
OURS: Final = frozenset({REASON, DETAIL, TOPIC, PARTITION, OFFSET, REPLAYED})

FAILED: Final = "failed"
FOLLOWS: Final = "follows"
HOLDING_BACK: Final = frozenset({FAILED, FOLLOWS})
"""Reasons that hold back the later events of the key until a replay."""

Place: TypeAlias = tuple[int, int]
"""Partition and offset where an event was first read."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is not applied; `reason` is a closed word, `detail` says more without personal data."""

    record: Record
    reason: str
    detail: str = ""


def place_of(record: Record) -> Place:
    """Where the event was first read: a replayed record carries it along."""
    replayed = record.header(REPLAYED)
    if replayed is not None:
        partition, _, offset = replayed.partition("/")
        if partition.isdecimal() and offset.isdecimal():
            return int(partition), int(offset)
    return record.partition, record.offset


def replayed_mark(place: Place) -> bytes:
    """The value of the header `REPLAYED`."""
    return f"{place[0]}/{place[1]}".encode()


def dead_letter(service: str, aside: SetAside, prefix: str = "") -> Outgoing:
    """The dead letter: the original bytes, key and headers, with where it came from and why it is here.

    A tombstone's value is written as no bytes: nobody writes tombstones, and to a reader both are the same.
    """
    kept = tuple((name, value) for name, value in aside.record.headers if name not in OURS)
    added = tuple((name, value.encode()) for name, value in _headers(aside).items())
    topic = prefix + dead_letters_of(service).name
    value = aside.record.value or b""
    return Outgoing(topic, aside.record.key_bytes, value, kept + added, MAX_DEAD_LETTER_BYTES)


def dead_letter_row(service: str, aside: SetAside) -> Row:
    """The same for the outbox: for what a service decides to set aside within its transaction.

    The outbox holds headers as text, so that one which is not UTF-8 is written with marks where it was not.
    """
    kept = {n: v.decode("utf-8", "replace") for n, v in aside.record.headers if n not in OURS}
    headers = {n: v.replace("\x00", "\ufffd") for n, v in (kept | dict(_headers(aside))).items()}
    return Row(dead_letters_of(service).name, aside.record.key, aside.record.value or b"", headers)


def _headers(aside: SetAside) -> Mapping[str, str]:
    partition, offset = place_of(aside.record)
    return {
        REASON: aside.reason,
        DETAIL: aside.detail[:500],
        TOPIC: aside.record.topic,
        PARTITION: str(partition),
        OFFSET: str(offset),
    }
