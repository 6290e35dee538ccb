"""The daily report: exact sums per cell, the difference that a batch makes to them, and the means that are shown."""

import operator
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from kefu_reporting.domain.counting import Cell, Counted, Measure, local_day


class By(StrEnum):
    """The dimension that the rows of a report are grouped by."""

    SITE = "site"
    GROUP = "group"
    CHANNEL = "channel"
    AGENT = "agent"
    CATEGORY = "category"
    KIND = "kind"


class Sums(NamedTuple):
    """Counts and durations in milliseconds. Integers, so that they add, subtract and recombine exactly."""

    opened: int = 0
    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    refused: int = 0
    resolved: int = 0
    messages_left: int = 0
    first_replies: int = 0
    wait_ms: int = 0
    first_reply_ms: int = 0
    handling_ms: int = 0

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(*map(operator.add, self, other))

    def minus(self, other: "Sums") -> "Sums":
        """This without the other."""
        return Sums(*map(operator.sub, self, other))


NOTHING: Final = Sums()


@dataclass(frozen=True, slots=True)
class Filter:
    """What a report is about: one account's day, and only what matches. None: no restriction."""

    account: str
    day: date
    sites: frozenset[str] | None = None
    group: str | None = None
    channel: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of a report. The means are in seconds, to the millisecond; None when nothing was counted.

    `wait_s` is over `answered`, `first_reply_s` over `first_replies`, `handling_s` over `resolved`.
    """

    opened: int
    offered: int
    answered: int
    abandoned: int
    refused: int
    resolved: int
    messages_left: int
    first_replies: int
    wait_s: float | None
    first_reply_s: float | None
    handling_s: float | None


def contribution(counted: Counted) -> Sums:
    """What one counted event adds to its cell."""
    match counted.measure:
        case Measure.OPENED:
            return Sums(opened=1)
        case Measure.OFFERED:
            return Sums(offered=1)
        case Measure.ANSWERED:
            return Sums(answered=1, wait_ms=counted.ms)
        case Measure.FIRST_REPLY:
            return Sums(first_replies=1, first_reply_ms=counted.ms)
        case Measure.ABANDONED:
            return Sums(abandoned=1)
        case Measure.REFUSED:
            return Sums(refused=1)
        case Measure.RESOLVED:
            return Sums(resolved=1, handling_ms=counted.ms)
        case Measure.MESSAGE_LEFT:
            return Sums(messages_left=1)


def difference(before: Set[Counted], after: Set[Counted]) -> dict[Cell, Sums]:
    """What must be added to each cell, where anything must, when `after` counts instead of `before`."""
    change: dict[Cell, Sums] = {}
    for gone in before - after:
        change[gone.cell] = change.get(gone.cell, NOTHING).minus(contribution(gone))
    for new in after - before:
        change[new.cell] = change.get(new.cell, NOTHING).plus(contribution(new))
    return {cell: sums for cell, sums in change.items() if sums != NOTHING}


def total(parts: Iterable[Sums]) -> Sums:
    """All parts together."""
    together = NOTHING
    for part in parts:
        together = together.plus(part)
    return together


def figures(sums: Sums) -> Figures:
    """The sums as people read them."""
    return Figures(
        opened=sums.opened,
        offered=sums.offered,
        answered=sums.answered,
        abandoned=sums.abandoned,
        refused=sums.refused,
        resolved=sums.resolved,
        messages_left=sums.messages_left,
        first_replies=sums.first_replies,
        wait_s=_mean_s(sums.wait_ms, sums.answered),
        first_reply_s=_mean_s(sums.first_reply_ms, sums.first_replies),
        handling_s=_mean_s(sums.handling_ms, sums.resolved),
    )


def rows(sums_by_value: Mapping[str, Sums]) -> list[tuple[str | None, Figures]]:
    """The lines of a report, sorted by the value of its dimension; None, which comes first, is 'none of them'."""
    return [(value or None, figures(sums)) for value, sums in sorted(sums_by_value.items())]


def is_open(day: date, time_zone: str, now: datetime) -> bool:
    """Whether more may still happen on that day, as it is counted in that time zone."""
    return local_day(now, time_zone) <= day


def _mean_s(total_ms: int, number: int) -> float | None:
    return round(total_ms / (number * 1000), 3) if number else None
