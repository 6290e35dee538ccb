"""A ticket's place in the queue, and what changes while it waits."""

from datetime import datetime, timedelta

from kefu_common.events import tickets as happened
from kefu_common.events.directory import Category, Overflow, Plan, Priorities
from kefu_common.events.words import Channel, TicketStatus
from kefu_routing.domain import admission
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory, Ticket
from kefu_routing.domain.work import Work

_MOST_URGENT = 9
_USUAL = Priorities()
_LONGEST_HOLD = timedelta(days=400)
"""Then it is seen whether a site that never opens still does not."""


def waits_from(
    directory: AccountDirectory, site: str, channel: Channel, at: datetime, now: datetime
) -> tuple[datetime, datetime]:
    """From when a new ticket may be offered, and since when it counts as waiting, which it does not while the site is
    closed. Who is on the line waits at once."""
    if channel in LIVE_CHANNELS:
        return now, min(at, now)
    ready_at = opens_at(directory, site, now)
    came_at = min(admission.opens_at(directory, site, at), ready_at)
    # It was open when the ticket came, and is not any more: what passed until it was read counts.
    return ready_at, came_at + (ready_at - now) if came_at <= now else ready_at


def opens_at(directory: AccountDirectory, site: str, now: datetime) -> datetime:
    """When what is written to the site may be offered, from `now` on."""
    return min(admission.opens_at(directory, site, now), now + _LONGEST_HOLD)


def turn_of(ticket: Ticket, plan: Plan | None) -> datetime:
    """When it would have come if all were alike: the earliest is next.

    A point of priority is worth `age_s` seconds of waiting, so that within a priority the oldest comes first, and
    nobody starves behind more urgent ones. From `due_lead_s` before a promise is due, the ticket has waited at least
    since then. Hours in which its site was closed are no waiting.
    """
    rules = plan.priorities if plan is not None else _USUAL
    came, lead = ticket.came_at, timedelta(seconds=rules.due_lead_s)
    if ticket.due_at is not None:
        came = max(came - lead, min(came, ticket.due_at - lead))
    return came - timedelta(seconds=ticket.priority * rules.age_s)


def most_ahead(directory: AccountDirectory) -> timedelta:
    """How far priority and promises can bring a ticket forward, by whichever plan of the account."""
    rules = [plan.priorities for plan in directory.plans.values()] or [_USUAL]
    return timedelta(seconds=max(_MOST_URGENT * r.age_s + r.due_lead_s for r in rules))


def begin_to_wait(ticket: Ticket, plan: Plan | None, at: datetime) -> None:
    """It waits anew, from when it may be offered: no overflow step has been taken yet."""
    ticket.queued_at = max(at, ticket.ready_at)
    ticket.step, ticket.wider = 0, []
    ticket.step_at = _next_step_at(ticket, _steps(plan))
    if ticket.preferred_until is not None and plan is not None and plan.prefer_last_agent is not None:
        ticket.preferred_until = ticket.queued_at + timedelta(seconds=plan.prefer_last_agent.wait_s)


def hold(ticket: Ticket, plan: Plan | None, now: datetime, opens_at: datetime) -> None:
    """Its site has closed: it is not offered before that opens, and its waiting goes on then."""
    closed = opens_at - now
    ticket.ready_at = opens_at
    ticket.came_at += closed
    ticket.queued_at += closed
    if ticket.step_at is not None:
        ticket.step_at += closed
    if ticket.preferred_until is not None:
        ticket.preferred_until += closed
    ticket.turn_at = turn_of(ticket, plan)


def prefer(ticket: Ticket, agent: str, until: datetime) -> None:
    """Whoever returns goes to the agent who served them last, and waits until then while that one is busy (H-07)."""
    ticket.preferred, ticket.preferred_until = agent, until


def take_step(work: Work, ticket: Ticket, now: datetime) -> None:
    """The next overflow step of its plan, if it has waited long enough: more agents may take it, or it comes earlier.

    Only groups that serve its source and tier take it.
    """
    directory = work.directories[ticket.account]
    plan = directory.plans.get(ticket.site)
    steps = _steps(plan)
    work.tickets[ticket.id] = ticket
    if ticket.status is not TicketStatus.QUEUED or ticket.step_at is None or ticket.step_at > now:
        return
    if ticket.step >= len(steps):
        ticket.step_at = None
        return
    step = steps[ticket.step]
    ticket.step += 1
    ticket.step_at = _next_step_at(ticket, steps)
    ticket.priority = min(_MOST_URGENT, ticket.priority + step.raise_priority)
    ticket.turn_at = turn_of(ticket, plan)
    widened = [g for g in step.widen_to if g not in (ticket.group, *ticket.wider)]
    ticket.wider = [*ticket.wider, *(g for g in widened if admission.may_serve(directory, g, ticket))]
    work.happen(ticket, happened.TicketQueued, now, cause="overflow", why={"step": ticket.step, **step.model_dump()})
    for group in (ticket.group, *ticket.wider):
        if group is not None:
            work.groups_to_assign.add((ticket.account, group))


def skills_needed(directory: AccountDirectory, ticket: Ticket) -> dict[str, int]:
    """What an agent must know to be offered it now: what its category says, unless an overflow step relaxed that."""
    category: Category | None = directory.categories.get(ticket.category or "")
    if category is None or not category.skills:
        return {}
    return {} if is_relaxed(directory.plans.get(ticket.site), ticket.step) else category.skills


def is_relaxed(plan: Plan | None, step: int) -> bool:
    """Whether one of the overflow steps that were taken lets agents without the category's skills take it."""
    return any(taken.relax_skills for taken in _steps(plan)[:step])


def _steps(plan: Plan | None) -> list[Overflow]:
    return plan.overflow if plan is not None else []


def _next_step_at(ticket: Ticket, steps: list[Overflow]) -> datetime | None:
    if ticket.step >= len(steps):
        return None
    return ticket.queued_at + timedelta(seconds=steps[ticket.step].after_s)
