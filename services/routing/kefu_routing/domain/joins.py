"""Undoing a wrong join: what came by one interaction becomes a ticket of its own."""

from dataclasses import dataclass
from datetime import datetime

from kefu_common.events import tickets as happened
from kefu_routing.domain import admission, turns
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.refusals import CannotTake
from kefu_routing.domain.work import Work


@dataclass(frozen=True, slots=True)
class Joined:
    """An interaction that joined a ticket: since when, and where whoever wrote is answered."""

    interaction: str
    at: datetime
    reply_email: str | None
    reply_phone: str | None


def split(work: Work, ticket: Ticket, joined: Joined, agent: str, at: datetime) -> Ticket:
    """Give the interaction a ticket of its own, with what the contact said by it. Raises `CannotTake` for the one that
    opened the ticket."""
    if joined.interaction == ticket.interaction:
        raise CannotTake(f"the interaction {joined.interaction} opened the ticket: it did not join it")
    directory = work.directories[ticket.account]
    ready_at, came_at = turns.waits_from(directory, ticket.site, ticket.channel, joined.at, at)
    opened = Ticket(
        work.new_id(),
        ticket.account,
        ticket.site,
        ticket.channel,
        ticket.contact,
        joined.interaction,
        opened_at=joined.at,
        ready_at=ready_at,
        came_at=came_at,
        partition=ticket.partition,
        kind=ticket.kind,
        source=ticket.source,
        category=ticket.category,
        tier=ticket.tier,
        adapter=ticket.adapter,
        priority=admission.priority_of(directory, ticket.site, ticket.tier),
        traceparent=ticket.traceparent,
        subject=ticket.subject,
        reply_email=joined.reply_email or ticket.reply_email,
        reply_phone=joined.reply_phone or ticket.reply_phone,
    )
    place = (ticket.account, joined.interaction)
    work.interactions[place] = opened.id
    work.split_off[place] = (ticket.id, opened.id)
    work.happen(ticket, happened.TicketUnmerged, at, agent=agent, other=opened.id)
    work.happen(opened, happened.TicketOpened, at, linked=[ticket.id])
    enqueue(work, opened, "split", at, admission.group_for(directory, ticket))
    return opened
