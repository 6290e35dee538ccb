"""Which ticket events the reports count, and how: a set that any order, repetition and batch split leads to.

What a ticket contributes is the set of its events that count at present. Merging more events into it is a union that
then keeps, per measure, the first, the last or each of them by sequence: commutative, associative and idempotent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kefu_common.events.envelope import Event
from kefu_common.events.tickets import (
    TicketAbandoned,
    TicketAssigned,
    TicketData,
    TicketMessageReceived,
    TicketOffered,
    TicketOpened,
    TicketRefused,
    TicketReplied,
    TicketResolved,
)
from kefu_common.events.words import Channel

TicketEvent: TypeAlias = Event[TicketData]


class NoPlaceInLog(Exception):
    """A ticket event without a sequence, or whose subject is no ticket: nobody could tell it from its repeat."""


class UnknownTimeZone(Exception):
    """There is no time zone of that name."""


class LogKey(NamedTuple):
    """What identifies a ticket event, however often and in whatever order it comes."""

    account: str
    ticket: UUID
    sequence: int


class Measure(StrEnum):
    """What an event can count as. An event counts as one measure at most."""

    OPENED = "opened"
    OFFERED = "offered"
    ANSWERED = "answered"
    FIRST_REPLY = "first_reply"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    RESOLVED = "resolved"
    MESSAGE_LEFT = "message_left"


class Keep(StrEnum):
    """Which of a ticket's events of one measure counts."""

    FIRST = "first"
    LAST = "last"
    EACH = "each"


KEEP: Final[dict[Measure, Keep]] = {
    Measure.OPENED: Keep.FIRST,
    Measure.OFFERED: Keep.FIRST,
    Measure.ANSWERED: Keep.FIRST,
    Measure.FIRST_REPLY: Keep.FIRST,
    Measure.ABANDONED: Keep.FIRST,
    Measure.REFUSED: Keep.FIRST,
    Measure.RESOLVED: Keep.LAST,
    Measure.MESSAGE_LEFT: Keep.EACH,
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Where something is counted: the local day of the site on which it happened, and the dimensions of that moment.

    `category`, `group` and `agent` are empty when there is none.
    """

    account: str
    day: date
    site: str
    channel: str
    kind: str
    category: str
    group: str
    agent: str


@dataclass(frozen=True, slots=True)
class Counted:
    """One event that counts, as `measure` in `cell`; `ms` is the duration that it brings, if its measure has one."""

    key: LogKey
    measure: Measure
    cell: Cell
    ms: int = 0


def log_key(event: TicketEvent) -> LogKey:
    """The event's place in its ticket's log. Raises `NoPlaceInLog`."""
    if event.sequence is None:
        raise NoPlaceInLog("no sequence")
    try:
        return LogKey(event.account, UUID(event.subject), event.sequence)
    except ValueError:
        raise NoPlaceInLog("the subject is no ticket") from None


def count(event: TicketEvent) -> Counted | None:
    """What the event counts as, taken alone; None when reports do not count it.

    Raises:
        NoPlaceInLog: it cannot be told from its repeat.
        UnknownTimeZone: its local day cannot be told.
        OverflowError, ValueError: a duration is not finite.
    """
    match event.data:
        case TicketOpened():
            return _counted(event, Measure.OPENED)
        case TicketOffered(agent=agent):
            return _counted(event, Measure.OFFERED, agent)
        case TicketAssigned(first=True, agent=agent, wait_s=wait_s):
            return _counted(event, Measure.ANSWERED, agent, wait_s)
        case TicketReplied(first=True, agent=agent, first_reply_s=float(first_reply_s)):
            return _counted(event, Measure.FIRST_REPLY, agent, first_reply_s)
        case TicketAbandoned():
            return _counted(event, Measure.ABANDONED)
        case TicketRefused():
            return _counted(event, Measure.REFUSED)
        case TicketResolved(agent=agent, handling_s=handling_s):
            return _counted(event, Measure.RESOLVED, agent, handling_s)
        case TicketMessageReceived(channel=Channel.MESSAGE):
            return _counted(event, Measure.MESSAGE_LEFT)
    return None


def merge(known: Iterable[Counted], more: Iterable[Counted]) -> set[Counted]:
    """What counts once `more` is known too; both may hold any number of tickets."""
    kept: dict[tuple[str, UUID, Measure, int], Counted] = {}
    for candidate in (*known, *more):
        account, ticket, sequence = candidate.key
        keep = KEEP[candidate.measure]
        slot = (account, ticket, candidate.measure, sequence if keep is Keep.EACH else 0)
        rival = kept.get(slot)
        if rival is None or _wins(candidate, rival, keep):
            kept[slot] = candidate
    return set(kept.values())


def local_day(moment: datetime, time_zone: str) -> date:
    """The calendar day of a moment in an IANA time zone. Raises `UnknownTimeZone`."""
    return moment.astimezone(_zone(time_zone)).date()


def _wins(candidate: Counted, rival: Counted, keep: Keep) -> bool:
    if keep is Keep.LAST:
        return candidate.key.sequence > rival.key.sequence
    return candidate.key.sequence < rival.key.sequence


def _counted(event: TicketEvent, measure: Measure, agent: str = "", seconds: float = 0.0) -> Counted:
    data = event.data
    cell = Cell(
        account=event.account,
        day=local_day(event.time, data.time_zone),
        site=data.site,
        channel=data.channel,
        kind=data.kind,
        category=data.category or "",
        group=data.group or "",
        agent=agent,
    )
    return Counted(log_key(event), measure, cell, round(seconds * 1000))


@cache
def _zone(name: str) -> ZoneInfo:
    # Bounded by the number of zones that exist: an unknown name raises and is not kept.
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: the name of a folder, such as `Asia`. To a consumer it would look like a disk that is away.
        raise UnknownTimeZone(name) from None
