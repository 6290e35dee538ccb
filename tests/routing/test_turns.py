"""A ticket's place in the queue, and what changes while it waits."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import Category, Overflow, Plan, Preference, Priorities
from kefu_common.events.words import TicketKind, TicketStatus
from kefu_routing.domain import turns
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.work import Work
from tests.routing.builders import (
    NOON,
    a_directory,
    a_group,
    an_event,
    later,
    nothing_known,
    some_work,
    the_ticket,
    types_of,
)

OVERFLOW = [
    Overflow(after_s=60, relax_skills=True),
    Overflow(after_s=120, raise_priority=5, widen_to=["after-sale", "closed-to-us"]),
    Overflow(after_s=180, raise_priority=9),
]


def waiting(**plan: Any) -> tuple[Work, Ticket]:
    """A chat that came at noon and names the category sales, for which one needs English."""
    groups = [a_group("sales", "a01"), a_group("after-sale", "b01"), a_group("closed-to-us", "c01", tiers=["gold"])]
    directory = a_directory(*groups, **plan)
    directory.categories["sales"] = Category(id="sales", name="售前", kind=TicketKind.TRANSACTION, skills={"英语": 3})
    work = some_work(directory)
    contact = {"external_id": "crm-1", "tier": "silver"}
    decide(work, nothing_known(), an_event("chat.started", category="sales", contact=contact), 0, NOON)
    return work, the_ticket(work)


def test_a_ticket_begins_with_its_tiers_priority_and_its_categorys_kind() -> None:
    _, ticket = waiting(priorities=Priorities(tiers={"silver": 4}, age_s=60))
    assert (ticket.priority, ticket.kind) == (4, TicketKind.TRANSACTION)
    assert ticket.turn_at == NOON - timedelta(seconds=240)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 100_000), st.integers(1, 3600))
def test_within_a_priority_the_oldest_is_first_and_nobody_starves(one: int, other: int, ahead: int, age_s: int) -> None:
    plan = Plan(id="shop", site="shop", groups=["sales"], priorities=Priorities(age_s=age_s))
    _, old = waiting()
    _, new = waiting()
    old.priority, new.priority = one, other
    new.opened_at = old.opened_at + timedelta(seconds=ahead)
    is_first = turns.turn_of(old, plan) <= turns.turn_of(new, plan)
    if one >= other or ahead >= 9 * age_s:
        assert is_first
    elif ahead < age_s:
        assert not is_first


def test_a_promise_that_is_due_counts_like_waiting() -> None:
    plan = Plan(id="shop", site="shop", groups=["sales"], priorities=Priorities(due_lead_s=600))
    _, ticket = waiting()
    ticket.due_at = later(60)
    assert turns.turn_of(ticket, plan) == later(60 - 600)
    ticket.due_at = later(6000)
    assert turns.turn_of(ticket, plan) == ticket.opened_at


def test_each_step_comes_when_the_ticket_has_waited_so_long() -> None:
    work, ticket = waiting(overflow=OVERFLOW)
    directory = work.directories["acme"]
    assert ticket.step_at == later(60)
    turns.take_step(work, ticket, later(59))
    assert (ticket.step, turns.skills_needed(directory, ticket)) == (0, {"英语": 3})
    turns.take_step(work, ticket, later(60))
    assert (ticket.step, turns.skills_needed(directory, ticket), ticket.step_at) == (1, {}, later(120))
    turns.take_step(work, ticket, later(120))
    assert (ticket.priority, ticket.wider) == (5, ["after-sale"]), "a group that does not serve the tier takes it"
    assert ticket.turn_at == NOON - timedelta(seconds=5 * 600)
    turns.take_step(work, ticket, later(500))
    assert ticket.priority == 9
    assert ticket.step_at is None
    assert types_of(work)[-3:] == ["queued"] * 3
    assert work.history[-1].event.data.model_dump()["cause"] == "overflow"
    assert ("acme", "after-sale") in work.groups_to_assign


def test_no_step_comes_to_a_ticket_that_somebody_has() -> None:
    work, ticket = waiting(overflow=OVERFLOW)
    ticket.status = TicketStatus.OFFERED
    turns.take_step(work, ticket, later(999))
    assert ticket.step == 0


def test_a_lapse_changes_no_wait_and_a_transfer_begins_a_new_one() -> None:
    work, ticket = waiting(overflow=OVERFLOW)
    turns.take_step(work, ticket, later(60))
    enqueue(work, ticket, "lapsed", later(70))
    assert (ticket.step, ticket.queued_at) == (1, NOON)
    enqueue(work, ticket, "transferred", later(80), "after-sale")
    assert (ticket.step, ticket.queued_at, ticket.step_at) == (0, later(80), later(140))


def test_who_returns_waits_for_the_last_agent_from_when_it_may_be_offered() -> None:  # H-07
    groups = a_group("sales", "a01")
    work, known = some_work(a_directory(groups, prefer_last_agent=Preference(wait_s=20))), nothing_known()
    contact = {"external_id": "crm-1"}
    decide(work, known, an_event("chat.started", "i1", contact=contact), 0, NOON)
    known.last_agents[the_ticket(work).contact] = "a01"
    decide(work, known, an_event("chat.started", "i2", at=later(5), contact=contact), 0, later(5))
    first, second = work.tickets.values()
    assert first.preferred is None
    assert (second.preferred, second.preferred_until) == ("a01", later(25))
    turns.hold_until(second, work.directories["acme"].plans["shop"], later(3600))
    assert second.preferred_until == later(3620)
