"""Who has a ticket: its group's queue, or an agent's hands."""

from datetime import datetime
from uuid import UUID

from kefu_common.events import outbound
from kefu_common.events import tickets as happened
from kefu_common.events.words import Channel, TicketStatus
from kefu_routing.domain import turns
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.work import Freed, Work


def enqueue(work: Work, ticket: Ticket, cause: str, at: datetime, group: str | None = None) -> None:
    """Put it (back) into the queue of its group; its place is by turn, so a returned one is at the head.

    Whoever comes back unanswered has waited all the time; otherwise the wait, and its overflow steps, begin anew.
    """
    ticket.status, ticket.holder, ticket.offer = TicketStatus.QUEUED, None, None
    ticket.unattended_since = ticket.reassign_at = None
    ticket.group = group or ticket.group
    plan = work.directories[ticket.account].plans.get(ticket.site)
    if cause not in ("declined", "lapsed", "withdrawn"):
        turns.begin_to_wait(ticket, plan, at)
    ticket.turn_at = turns.turn_of(ticket, plan)
    work.happen(ticket, happened.TicketQueued, at, cause=cause)
    wake(work, ticket)


def wake(work: Work, ticket: Ticket) -> None:
    """It may be offered to somebody now."""
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
    ticket.unattended_since = ticket.reassign_at = None
    ticket.group = _group_of(work, ticket, agent)
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
    work.groups_to_assign |= {(account, group) for group in work.directories[account].groups_of.get(agent, ())}


def free(work: Work, ticket: Ticket, agent: str, at: datetime) -> None:
    """The agent does not have it in hand any more; after a call they have a while for what it leaves to be done."""
    plan = work.directories[ticket.account].plans.get(ticket.site)
    after_call_s = plan.after_call_s if plan is not None and ticket.channel is Channel.CALL else 0
    work.freed[ticket.account, agent] = Freed(at, after_call_s)
    wake_groups_of(work, ticket.account, agent)


def _group_of(work: Work, ticket: Ticket, agent: str) -> str | None:
    """Its group, or the one of those to which it overflowed that the agent belongs to."""
    theirs = work.directories[ticket.account].groups_of.get(agent, ())
    if ticket.group in theirs:
        return ticket.group
    return next((group for group in ticket.wider if group in theirs), ticket.group)


def seconds_between(start: datetime, end: datetime) -> float:
    """To the millisecond; clocks of adapters may be wrong, so never below 0."""
    return max(0.0, round((end - start).total_seconds(), 3))
