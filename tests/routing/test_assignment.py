"""Who gets which ticket (H-08, D-09)."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from kefu_common.events.directory import Capacity
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain.assignment import PASS_S, RuledOut, Waiting, assign, in_order
from kefu_routing.domain.strategies import Candidate
from tests.routing.builders import AFTER_SALE, NOON, SALES, a_candidate, a_waiting, later

CHANNELS = st.sampled_from(list(Channel))
CANDIDATES = st.lists(
    st.builds(
        lambda number, state, call, chat, email, today: a_candidate(
            f"a{number:02}",
            state=state,
            capacity=Capacity(call=call, chat=chat, email=email),
            offers_today=today,
        ),
        st.integers(1, 99),
        st.sampled_from([None, *PresenceState]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 5),
    ),
    max_size=8,
    unique_by=lambda c: c.agent,
)
QUEUES = st.lists(st.builds(a_waiting, CHANNELS, st.integers(0, 600), st.integers(0, 9)), max_size=20)


@given(QUEUES, CANDIDATES)
@settings(max_examples=200, deadline=None)
def test_nobody_is_over_capacity_or_offered_anything_while_not_available(
    queue: list[Waiting], agents: list[Candidate]
) -> None:
    """Guards `strategies.Candidate.room_for` and `is_here`; in `assignment.assign` the counting of what was given, and
    `rooms.forget(winner)`."""
    before = {a.agent: a.offers_today for a in agents}
    channels = {w.ticket: w.channel for w in queue}
    decisions = assign(queue, {SALES: agents}, later(700))
    for agent in agents:
        held = Counter(channels[d.ticket] for d in decisions if d.agent == agent.agent)
        assert held == Counter(agent.held)
        assert held[Channel.CALL] <= agent.capacity.call
        assert held[Channel.CHAT] <= agent.capacity.chat
        assert held[Channel.EMAIL] + held[Channel.MESSAGE] <= agent.capacity.email
        assert agent.offers_today - before[agent.agent] == sum(d.agent == agent.agent for d in decisions)
    available = {a.agent for a in agents if a.state is PresenceState.AVAILABLE}
    assert {d.agent for d in decisions} <= available
    assert len({d.ticket for d in decisions}) == len(decisions)


@given(QUEUES, CANDIDATES)
@settings(max_examples=200, deadline=None)
def test_no_ticket_waits_while_an_agent_who_may_take_it_is_free(queue: list[Waiting], agents: list[Candidate]) -> None:
    """Guards `if not fit` in `assignment.assign`, which goes on with the next, and that only its `kind` is hopeless."""
    decided = {d.ticket for d in assign(queue, {SALES: agents}, later(700))}
    for waits in queue:
        if waits.ticket not in decided:
            assert not any(a.state is PresenceState.AVAILABLE and a.has_room_for(waits.channel) for a in agents)


@given(st.integers(1, 6), st.integers(0, 40))
def test_round_robin_evens_out_the_offers_of_the_day(agents: int, tickets: int) -> None:
    """Guards `winner.offers_today += 1` in `assignment.assign`, and `strategies.round_robin`'s first rank."""
    team = [a_candidate(f"a{n:02}", capacity=Capacity(chat=100)) for n in range(agents)]
    counted = Counter(d.agent for d in assign([a_waiting() for _ in range(tickets)], {SALES: team}, NOON))
    counts = [counted[a.agent] for a in team]
    assert max(counts) - min(counts) <= 1


def test_the_queue_is_by_channel_then_urgency_then_age() -> None:
    """Guards `assignment.in_order` and its `HEAD_START`."""
    old_mail = a_waiting(Channel.EMAIL, since=0)
    call, chat = a_waiting(Channel.CALL, since=20), a_waiting(Channel.CHAT, since=10)
    urgent = a_waiting(Channel.EMAIL, since=30, priority=5)
    older_chat = a_waiting(Channel.CHAT, since=5)
    assert in_order([old_mail, call, chat, urgent, older_chat]) == [call, older_chat, chat, urgent, old_mail]


def test_who_declined_a_ticket_is_passed_over_for_a_while_and_the_decision_says_so() -> None:
    """Guards `assignment._passed_lately` and its `PASS_S`, and `_absence`."""
    ticket = a_waiting(a01=NOON)
    team = [a_candidate("a01"), a_candidate("a02", offers_today=9), a_candidate("a03", state=None)]
    (decision,) = assign([ticket], {SALES: team}, later(1))
    assert decision.agent == "a02"
    assert decision.why["ruled_out"] == {"a03": RuledOut.SIGNED_OUT, "a01": RuledOut.PASSED}
    assert assign([ticket], {SALES: [a_candidate("a01")]}, later(1)) == []
    (again,) = assign([ticket], {SALES: [a_candidate("a01")]}, NOON + timedelta(seconds=PASS_S))
    assert again.agent == "a01"


def test_a_ticket_that_nobody_may_take_does_not_hold_up_the_ones_behind_it() -> None:
    """Guards `if not fit` in `assignment.assign`, which goes on with the next."""
    no_calls = [a_candidate("a01", capacity=Capacity(call=0))]
    call, chat = a_waiting(Channel.CALL), a_waiting(Channel.CHAT)
    assert [d.ticket for d in assign([call, chat], {SALES: no_calls}, NOON)] == [chat.ticket]


def test_what_remains_of_a_call_goes_to_an_agent_whose_hands_are_full() -> None:
    """Guards `ticket.takes_capacity` in `assignment._sift` and in `assignment.assign`."""
    busy = a_candidate("a01", held={Channel.CALL: 1})
    remains = replace(a_waiting(Channel.CALL), takes_capacity=False)
    waits = a_waiting(Channel.CALL)
    assert [d.ticket for d in assign([waits, remains], {SALES: [busy]}, NOON)] == [remains.ticket]
    assert busy.held == {Channel.CALL: 1}


def test_an_agent_of_two_groups_gets_the_most_urgent_of_both_and_never_too_much() -> None:
    """Guards `rooms.forget(winner)` in `assignment.assign`, and its one queue of all groups."""
    both = a_candidate("a01", capacity=Capacity(call=1, chat=1, email=0))
    chat = a_waiting(Channel.CHAT, since=0)
    call = replace(a_waiting(Channel.CALL, since=9), group=AFTER_SALE)
    other_call = a_waiting(Channel.CALL, since=10)
    decisions = assign([chat, call, other_call], {SALES: [both], AFTER_SALE: [both]}, NOON)
    assert [d.ticket for d in decisions] == [call.ticket]
    assert both.held == {Channel.CALL: 1}
