"""Tickets as routing tells of them, event by event, and what they amount to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kefu_common.events.envelope import Event
from kefu_common.events.tickets import TICKET_MODELS
from kefu_common.events.words import Channel
from kefu_common.ids import new_id
from kefu_reporting.domain.counting import Cell, Counted, TicketEvent, count, merge
from kefu_reporting.domain.daily import NOTHING, Sums, difference

CONTACT = UUID("018f0000-0000-7000-8000-00000000c0de")
OPENED_AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
"""10:00 in Shanghai."""


@dataclass
class TicketStory:
    """Collects a ticket's `events`, numbered as they are told. `now` holds what routing stamps on the next."""

    account: str
    ticket: UUID
    now: dict[str, Any]
    events: list[TicketEvent] = field(default_factory=list)

    def becomes(self, **stamped: Any) -> "TicketStory":
        """Change what is stamped from now on: `group`, `category`, `kind`, …"""
        self.now.update(stamped)
        return self

    def opened(self, at: datetime) -> "TicketStory":
        return self._tell("opened", at)

    def message_received(self, at: datetime) -> "TicketStory":
        return self._tell("message_received", at, message=new_id())

    def queued(self, at: datetime) -> "TicketStory":
        return self._tell("queued", at, cause="new")

    def offered(self, at: datetime, agent: str) -> "TicketStory":
        return self._tell("offered", at, agent=agent, offer=new_id(), fence=1, expires_at=at, waited_s=0)

    def assigned(self, at: datetime, agent: str, wait_s: float, first: bool = True) -> "TicketStory":
        return self._tell("assigned", at, agent=agent, by="accept", wait_s=wait_s, first=first)

    def replied(self, at: datetime, agent: str, first_reply_s: float | None = None) -> "TicketStory":
        first = first_reply_s is not None
        return self._tell("replied", at, agent=agent, message=new_id(), first=first, first_reply_s=first_reply_s)

    def transferred(self, at: datetime, agent: str, to_group: str) -> "TicketStory":
        return self._tell("transferred", at, agent=agent, from_group=self.now["group"], to_group=to_group)

    def resolved(self, at: datetime, agent: str, handling_s: float) -> "TicketStory":
        return self._tell("resolved", at, agent=agent, handling_s=handling_s)

    def abandoned(self, at: datetime) -> "TicketStory":
        return self._tell("abandoned", at, wait_s=9, ringing=False)

    def refused(self, at: datetime) -> "TicketStory":
        return self._tell("refused", at)

    def _tell(self, what: str, at: datetime, **more: Any) -> "TicketStory":
        name = f"kefu.ticket.{what}"
        data = TICKET_MODELS[name].model_validate({**self.now, **more})
        number = len(self.events) + 1
        self.events.append(
            Event(new_id(), name, f"/sites/{data.site}", str(self.ticket), at, self.account, data, number)
        )
        return self


def a_ticket(account: str = "acme", ticket: UUID | None = None, **stamped: Any) -> TicketStory:
    """A ticket without a history yet: a call to `shop` for group `pre-sale`, unless said otherwise."""
    usual = {
        "site": "shop",
        "time_zone": "Asia/Shanghai",
        "channel": Channel.CALL,
        "category": "pre-sale",
        "kind": "consultation",
        "group": "pre-sale",
        "contact": CONTACT,
        "priority": 5,
        "status": "queued",
        "opened_at": OPENED_AT,
    }
    return TicketStory(account, ticket or new_id(), usual | stamped)


def at(hour: int, minute: int = 0, day: int = 23) -> datetime:
    """A moment on 23 November 2026, or another day of that month, in UTC."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def counted_in(batches: Iterable[Sequence[TicketEvent]]) -> dict[Cell, Sums]:
    """What the service does with its tables, done with sets: merge each batch, add the difference."""
    known: set[Counted] = set()
    table: dict[Cell, Sums] = {}
    for batch in batches:
        after = merge(known, filter(None, map(count, batch)))
        for cell, change in difference(known, after).items():
            table[cell] = table.get(cell, NOTHING).plus(change)
        known = after
    return {cell: sums for cell, sums in table.items() if sums != NOTHING}
