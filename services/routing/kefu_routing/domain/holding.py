"""Who has a ticket: its group's queue, or an agent's hands."""

from datetime import datetime
from uuid import UUID

from kefu_common.events import outbound
from kefu_common.events import tickets as happened
from kefu_common.events.words import Channel, TicketStatus
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.work import Work


def enqueue(work: Work, ticket: Ticket, cause: str, at: datetime, group: str | None = None) -> None:
    """Put it (back) into the queue of its group; its place is by age, so a returned one is at the head."""
    ticket.status, ticket.holder, ticket.offer = TicketStatus.QUEUED, None, None
    ticket.group = group or ticket.group
    work.happen(ticket, happened.TicketQueued, at, cause=cause)
    if ticket.group is not None:
        work.groups_to_assign.add((ticket.account, ticket.group))


def take(work: Work, ticket: Ticket, agent: str, at: datetime, by: str, offer_id: UUID | None = None) -> None:
    """Make the agent the handler; the first one becomes the owner (T-15)."""
    first = ticket.answered_at is None
    ticket.status, ticket.reason, ticket.offer = TicketStatus.ACTIVE, None, None
    ticket.handler = agent
    ticket.holder = agent if ticket.takes_capacity else None
    ticket.owner = ticket.owner or agent
    ticket.answered_at = ticket.answered_at or at
    ticket.handling_since = at
    ticket.give_up_at = None
    ticket.passed = {}
    wait_s = seconds_between(ticket.opened_at, at)
    work.happen(ticket, happened.TicketAssigned, at, agent=agent, offer=offer_id, by=by, wait_s=wait_s, first=first)
    if ticket.channel is Channel.CHAT and ticket.live:
        work.instruct(ticket, outbound.ChatAssigned, at, staff=agent)


def pause_handling(ticket: Ticket, at: datetime) -> None:
    """Nobody has it in hand for now: the time until here is the handling time so far."""
    if ticket.handling_since is not None:
        ticket.handled_ms += max(0, round((at - ticket.handling_since).total_seconds() * 1000))
        ticket.handling_since = None


def wake_groups_of(work: Work, account: str, agent: str) -> None:
    """The agent has room again: what waits in their groups may be offered now."""
    for group in work.directories[account].groups.values():
        if agent in group.agents:
            work.groups_to_assign.add((account, group.id))


def seconds_between(start: datetime, end: datetime) -> float:
    """To the millisecond; clocks of adapters may be wrong, so never below 0."""
    return max(0.0, round((end - start).total_seconds(), 3))
