"""Each check passes on a sound little load, and catches the one thing that is wrong with another."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults import checks
from tests.faults.record import Commanded, Posted, Record, Story
from tests.faults.state import Logged, Offered, Said, State, TicketRow

TYPES = ("opened", "queued", "message_received", "offered", "assigned", "replied", "resolved")


def a_record() -> Record:
    """One chat, with one message and one reply."""
    record = Record(run="r", stories={"r-0": Story.CHAT})
    bodies = [{"id": "r-0.0", "contact": {}}, {"id": "r-0.1", "data": {"text": "hello"}}]
    record.posts["r-0"] = [Posted(body, ["ConnectError", 503, 202], {"e"}) for body in bodies]
    accept = Commanded("a01", "/v1/offers/o/accept", {}, [200], {"id": "t"})
    replies = [Commanded("a01", "/v1/tickets/t/reply", {"text": text}, [503, 200]) for text in ("one", "two")]
    record.commands, record.replies = [accept, *replies], {"t": replies}
    say = [{"id": t, "type": "kefu.chat.say", "subject": "r-0", "data": {"text": t}} for t in ("one", "two", "one")]
    record.instructions = say
    record.events = [{"id": str(n), "subject": "t", "sequence": n} for n in (1, 2, 3, 4, 5, 4, 5, 6, 7)]
    return record


def a_state() -> State:
    """What that load leaves behind, with a repeat on Kafka."""
    history = [Logged("", n, f"kefu.ticket.{type}") for n, type in enumerate(TYPES, 1)]
    log = [replace(event, id=str(event.sequence)) for event in history]
    return State(
        tickets=[TicketRow("t", "r-0", "resolved", "a01", 7)],
        messages=[Said("t", "contact", "hello"), Said("t", "agent", "one"), Said("t", "agent", "two")],
        history={"t": history},
        log={"t": [*log[:3], *log[1:]]},
        instructions={"r-0": [Logged(text, 0, "kefu.chat.say") for text in ("one", "one", "two")]},
        inbox={"e"},
        offers=[Offered("t", "a01", "accepted", False)],
        outboxes={"routing": 0},
        dead=[],
        sunk=[],
        report=Counter(opened=1, answered=1, resolved=1),
    )


def test_a_sound_load_has_no_offenders() -> None:
    assert checks.offenders(a_record(), a_state()) == {}


def _swapped(state: State) -> State:
    log = state.log["t"]
    return replace(state, log={"t": [log[0], log[2], log[1], *log[5:]]})


WRONG_STATES: list[tuple[checks.Check, Callable[[State], State]]] = [
    (checks.each_event_is_recorded, lambda s: replace(s, inbox=set())),
    (checks.each_interaction_has_one_ticket, lambda s: replace(s, tickets=[])),
    (checks.each_interaction_has_one_ticket, lambda s: replace(s, tickets=s.tickets * 2)),
    (checks.each_message_is_kept_once_in_order, lambda s: replace(s, messages=s.messages[1:])),
    (checks.each_message_is_kept_once_in_order, lambda s: replace(s, messages=s.messages[:1] + s.messages)),
    (checks.each_message_is_kept_once_in_order, lambda s: replace(s, messages=s.messages[::-1])),
    (checks.each_ticket_ended_as_it_should, lambda s: replace(s, tickets=[replace(s.tickets[0], status="active")])),
    (checks.ticket_events_have_no_gap, lambda s: replace(s, log={"t": s.log["t"][5:]})),
    (checks.ticket_events_have_no_gap, lambda s: replace(s, log={"t": [*s.log["t"], Logged("8", 7, "kefu.x")]})),
    (checks.ticket_events_have_no_gap, lambda s: replace(s, history={"t": s.history["t"][:-1]})),
    (checks.ticket_events_have_no_gap, _swapped),
    (checks.no_ticket_has_two_handlers, lambda s: replace(s, tickets=[replace(s.tickets[0], handler="a02")])),
    (checks.no_ticket_has_two_handlers, lambda s: replace(s, offers=s.offers * 2)),
    (checks.no_ticket_has_two_handlers, lambda s: replace(s, offers=[Offered("t", "a02", "open", False)])),
    (checks.the_report_counts_once, lambda s: replace(s, report=Counter(opened=2, answered=1, resolved=1))),
    (checks.nothing_is_left_over, lambda s: replace(s, outboxes={"routing": 1})),
    (checks.nothing_is_left_over, lambda s: replace(s, dead=["kefu.routing.dead.v1"])),
]


@pytest.mark.parametrize(("check", "spoil"), WRONG_STATES)
def test_what_is_wrong_in_the_end_is_found(check: checks.Check, spoil: Callable[[State], State]) -> None:
    assert check(a_record(), spoil(a_state()))


def _lose_the_answer(record: Record) -> None:
    record.posts["r-0"][0].answers.pop()


def _answer_unauthorised(record: Record) -> None:
    record.posts["r-0"][0].answers.insert(0, 401)


def _name_another_event(record: Record) -> None:
    record.posts["r-0"][0].events.add("f")


def _say_only_the_last(record: Record) -> None:
    del record.instructions[0]


def _skip_an_event(record: Record) -> None:
    del record.events[0]


WRONG_RECORDS: list[tuple[checks.Check, Callable[[Record], None]]] = [
    (checks.everything_was_accepted, _lose_the_answer),
    (checks.everything_was_accepted, _answer_unauthorised),
    (checks.everything_was_accepted, _name_another_event),
    (checks.each_reply_was_said_in_order, _say_only_the_last),
    (checks.the_outbound_stream_keeps_order, _say_only_the_last),
    (checks.the_tickets_stream_has_no_gap, _skip_an_event),
]


@pytest.mark.parametrize(("check", "spoil"), WRONG_RECORDS)
def test_what_clients_should_not_have_seen_is_found(check: checks.Check, spoil: Callable[[Record], None]) -> None:
    record = a_record()
    spoil(record)
    assert check(record, a_state())


@pytest.mark.parametrize("times", [0, 2])
def test_an_sms_that_was_lost_or_came_twice_is_found(times: int) -> None:
    record = Record(run="r", stories={"r-0": Story.KEPT})
    email = {"channel": "email", "to": checks.ADMIN_EMAIL, "subject": "left", "text": "r-0 says 1"}
    sms = {"channel": "sms", "to": checks.ADMIN_PHONE, "subject": "", "text": "r-0 says 1"}
    nothing = replace(a_state(), tickets=[])
    assert checks.people_were_told(record, replace(nothing, sunk=[email, email, sms])) == []
    assert checks.people_were_told(record, replace(nothing, sunk=[email] + [sms] * times))
    assert checks.people_were_told(record, replace(nothing, sunk=[sms]))
