"""A ticket's place in the queue, and what changes while it waits."""

from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import Calendar, Capacity, Category, Overflow, Plan, Preference, Priorities, Window
from kefu_common.events.words import Channel, TicketKind, TicketStatus
from kefu_routing.domain import turns
from kefu_routing.domain.dispatch import Round
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.work import Work
from tests.routing.builders import (
    NOON,
    SALES,
    a_candidate,
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
    """Guards `admission.priority_of` and `admission.kind_of`, and the priority in `turns.turn_of`."""
    _, ticket = waiting(priorities=Priorities(tiers={"silver": 4}, age_s=60))
    assert (ticket.priority, ticket.kind) == (4, TicketKind.TRANSACTION)
    assert ticket.turn_at == NOON - timedelta(seconds=240)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 100_000), st.integers(1, 3600))
def test_within_a_priority_the_oldest_is_first_and_nobody_starves(one: int, other: int, ahead: int, age_s: int) -> None:
    """Guards what a point of priority is worth in `turns.turn_of`: `age_s` of waiting, and no more."""
    plan = Plan(id="shop", site="shop", groups=["sales"], priorities=Priorities(age_s=age_s))
    _, old = waiting()
    _, new = waiting()
    old.priority, new.priority = one, other
    new.came_at = old.came_at + timedelta(seconds=ahead)
    is_first = turns.turn_of(old, plan) <= turns.turn_of(new, plan)
    if one >= other or ahead >= 9 * age_s:
        assert is_first
    elif ahead < age_s:
        assert not is_first


def test_a_promise_that_is_due_counts_like_waiting() -> None:
    """Guards `due_at` in `turns.turn_of`."""
    plan = Plan(id="shop", site="shop", groups=["sales"], priorities=Priorities(due_lead_s=600))
    _, ticket = waiting()
    ticket.due_at = later(60)
    assert turns.turn_of(ticket, plan) == later(60 - 600)
    ticket.due_at = later(6000)
    assert turns.turn_of(ticket, plan) == ticket.came_at == ticket.opened_at


def test_each_step_comes_when_the_ticket_has_waited_so_long() -> None:
    """Guards in `turns`: `take_step`'s `step_at > now`, its `may_serve` and its `_MOST_URGENT`, and `is_relaxed`."""
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
    """Guards the `status` in `turns.take_step`."""
    work, ticket = waiting(overflow=OVERFLOW)
    ticket.status = TicketStatus.OFFERED
    turns.take_step(work, ticket, later(999))
    assert ticket.step == 0


def test_a_lapse_changes_no_wait_and_a_transfer_begins_a_new_one() -> None:
    """Guards the condition on the cause in `holding.enqueue`, and `step = 0` in `turns.begin_to_wait`."""
    work, ticket = waiting(overflow=OVERFLOW)
    turns.take_step(work, ticket, later(60))
    enqueue(work, ticket, "lapsed", later(70))
    assert (ticket.step, ticket.queued_at) == (1, NOON)
    enqueue(work, ticket, "transferred", later(80), "after-sale")
    assert (ticket.step, ticket.queued_at, ticket.step_at) == (0, later(80), later(140))


def test_who_returns_waits_for_the_last_agent_from_when_it_may_be_offered() -> None:  # H-07
    """Guards `_prefer` in `domain.interactions`, and `preferred_until` in `turns.begin_to_wait`."""
    groups = a_group("sales", "a01")
    work, known = some_work(a_directory(groups, prefer_last_agent=Preference(wait_s=20))), nothing_known()
    contact = {"external_id": "crm-1"}
    decide(work, known, an_event("chat.started", "i1", contact=contact), 0, NOON)
    known.last_agents[the_ticket(work).contact] = "a01"
    decide(work, known, an_event("chat.started", "i2", at=later(5), contact=contact), 0, later(5))
    first, second = work.tickets.values()
    assert first.preferred is None
    assert (second.preferred, second.preferred_until) == ("a01", later(25))
    turns.hold(second, work.directories["acme"].plans["shop"], later(5), later(3605))
    assert second.preferred_until == later(3625)


WORKDAYS = Calendar(id="office", name="办公", weekly=[Window(days=[1, 2, 3, 4, 5], start=time(9), end=time(18))])
OPENS, HOUR = NOON - timedelta(hours=3), timedelta(hours=1)


@pytest.mark.parametrize(
    ("channel", "came", "read", "ready_at", "came_at"),
    [
        (Channel.EMAIL, NOON, NOON, NOON, NOON),
        (Channel.EMAIL, NOON - 60 * HOUR, NOON - 60 * HOUR, OPENS, OPENS),
        # read late: on Monday what was written on Saturday; at 20:00 on Friday what was written at 17:00
        (Channel.MESSAGE, NOON - 60 * HOUR, NOON, NOON, OPENS),
        (Channel.EMAIL, NOON - 67 * HOUR, NOON - 64 * HOUR, OPENS, OPENS - 3 * HOUR),
        (Channel.CALL, NOON - HOUR, NOON, NOON, NOON - HOUR),
        # a switch whose clock is ahead
        (Channel.CALL, NOON + HOUR / 15, NOON, NOON, NOON),
    ],
)
def test_a_ticket_waits_from_the_first_open_moment(
    channel: Channel, came: datetime, read: datetime, ready_at: datetime, came_at: datetime
) -> None:
    """Fails without `admission.opens_at` in `turns.waits_from`."""
    directory = a_directory(a_group("sales", "a01"), calendar=WORKDAYS)
    assert turns.waits_from(directory, "shop", channel, came, read) == (ready_at, came_at)


def test_a_site_that_closes_stops_the_clock_of_what_was_written_to_it() -> None:
    """Fails without any of the shifts in `turns.hold`."""
    directory = a_directory(a_group("sales", "a01"), calendar=WORKDAYS, overflow=OVERFLOW)
    work = some_work(directory)
    monday_1759 = NOON + 6 * HOUR - timedelta(seconds=60)
    decide(work, nothing_known(), an_event("email.received", at=monday_1759, text="?"), 0, monday_1759)
    ticket, round = the_ticket(work), Round(work, {SALES: [a_candidate("a01", state=None)]}, NOON + 6 * HOUR)
    round.decide([ticket])
    night = 15 * HOUR
    assert (ticket.ready_at, ticket.came_at) == (NOON + 21 * HOUR, monday_1759 + night)
    assert (ticket.turn_at, ticket.queued_at, ticket.step) == (monday_1759 + night, monday_1759 + night, 0)
    assert ticket.step_at == monday_1759 + night + timedelta(seconds=60)


def test_what_a_site_that_never_opens_got_is_looked_at_again_some_day() -> None:
    never = a_directory(a_group("sales", "a01"), calendar=Calendar(id="never", name="从不"))
    assert turns.opens_at(never, "shop", NOON) == NOON + timedelta(days=400)


def test_on_monday_a_caller_goes_before_a_mail_of_the_weekend_however_urgent() -> None:
    """Fails without `most_ahead` in `assignment.in_order`, and with `opened_at` instead of `came_at` in `turn_of`."""
    a_point_is_a_day = Priorities(tiers={"gold": 9}, age_s=86_400)
    directory = a_directory(a_group("sales", "a01"), calendar=WORKDAYS, priorities=a_point_is_a_day)
    work, saturday, at_nine = some_work(directory), NOON - 60 * HOUR, OPENS + timedelta(seconds=60)
    gold = {"email": "w@example.com", "tier": "gold"}
    decide(work, nothing_known(), an_event("email.received", at=saturday, contact=gold, text="?"), 0, saturday)
    decide(work, nothing_known(), an_event("call.started", "i2", at=at_nine), 0, at_nine)
    agent = a_candidate("a01", capacity=Capacity(call=1, email=1))
    this = Round(work, {SALES: [agent]}, at_nine)
    this.decide(list(work.tickets.values()))
    assert [this.tickets[d.ticket].channel for d in this.decisions if isinstance(d.ticket, UUID)] == [Channel.CALL]


def test_a_promise_is_worth_its_lead_and_no_more() -> None:
    plan = Plan(id="shop", site="shop", groups=["sales"], priorities=Priorities(due_lead_s=600))
    _, ticket = waiting()
    ticket.due_at = ticket.came_at - HOUR
    assert turns.turn_of(ticket, plan) == later(-600)
