"""What subscribers see of a ticket: its events in order, without a gap. Source: design, sections 4 and 6."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sequenced(Generic[T]):
    """One ticket's event with its place in the ticket's life; the first is 1."""

    sequence: int
    event: T


@dataclass(frozen=True, slots=True)
class Ordered(Generic[T]):
    """What may be shown now, in order, and what waits behind a gap; `last` is the sequence shown last."""

    shown: list[Sequenced[T]]
    waiting: list[Sequenced[T]]
    last: int


def in_order(last: int, events: Iterable[Sequenced[T]]) -> Ordered[T]:
    """Go on from `last`: drop what is not above it and repeats, stop at the first gap."""
    by_sequence: dict[int, Sequenced[T]] = {}
    for event in events:
        if event.sequence > last:
            by_sequence.setdefault(event.sequence, event)
    shown = []
    while (following := by_sequence.pop(last + 1, None)) is not None:
        shown.append(following)
        last += 1
    return Ordered(shown, [by_sequence[s] for s in sorted(by_sequence)], last)


def on_one_line(event: bytes) -> str:
    """The event's JSON as it came, on one line by any client's idea of a line end."""
    text = event.decode("utf-8")
    if len(text.splitlines()) <= 1 and not text.endswith(("\n", "\r")):
        return text
    return json.dumps(json.loads(text), separators=(",", ":"))
