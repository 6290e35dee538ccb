"""What adapters' events do, decided without any I/O."""

import pytest

from kefu_common.events.directory import Texts
from kefu_common.events.words import TicketStatus
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.interactions import Known, NotApplicable, decide
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.work import Work
from tests.routing.builders import (
    NOON,
    a_directory,
    a_group,
    an_event,
    instructions_of,
    later,
    nothing_known,
    some_work,
    the_ticket,
    types_of,
)


def _ringing(agent: str = "a01") -> tuple[Work, Known, Ticket]:
    """A call that rings at the agent until 15 s after noon."""
    work, known = some_work(), nothing_known()
    decide(work, known, an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    made = rules.offer(work, ticket, agent, NOON, {})
    known.offers[made.id] = made
    return work, known, ticket


def held_by(ticket: Ticket) -> str | None:
    return ticket.holder


def test_an_answer_in_time_is_the_accept_though_it_is_read_late() -> None:
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(15), agent="a01"), 0, later(300))
    assert (ticket.status, ticket.handler, ticket.owner) == (TicketStatus.ACTIVE, "a01", "a01")
    assert types_of(work)[-1] == "assigned"
    assert "call.cancel" not in instructions_of(work)


def test_a_late_answer_makes_its_agent_the_handler_if_nobody_is_and_cancels_the_open_offer() -> None:
    work, known, ticket = _ringing("a01")
    decide(work, known, an_event("call.answered", at=later(16), agent="a02"), 0, later(16))
    assert (ticket.status, ticket.handler) == (TicketStatus.ACTIVE, "a02")
    assert instructions_of(work) == ["call.ring", "call.cancel"]


def test_a_late_answer_by_the_agent_whose_offer_it_was_does_not_use_the_offer() -> None:
    work, known, ticket = _ringing("a01")
    decide(work, known, an_event("call.answered", at=later(16), agent="a01"), 0, later(16))
    assert ticket.handler == "a01"
    assert [o.status for o in work.offers.values()] == ["withdrawn"]


def test_an_answer_after_somebody_elses_is_set_aside() -> None:
    work, known, _ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(3), agent="a01"), 0, later(3))
    with pytest.raises(NotApplicable, match="answered_elsewhere"):
        decide(work, known, an_event("call.answered", at=later(4), agent="a02"), 0, later(4))


def test_a_caller_who_hangs_up_while_ringing_abandons_and_the_ring_is_cancelled() -> None:
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.ended", at=later(5), cause="hang_up"), 0, later(5))
    assert (ticket.status, ticket.reason, ticket.holder) == (TicketStatus.ABANDONED, "hang_up", None)
    assert instructions_of(work) == ["call.ring", "call.cancel"]
    assert ("acme", "sales") in work.groups_to_assign


def test_the_end_of_an_answered_call_frees_the_agent_but_the_ticket_stays_theirs() -> None:
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(3), agent="a01"), 0, later(3))
    assert held_by(ticket) == "a01"
    decide(work, known, an_event("call.ended", at=later(63)), 0, later(63))
    assert ticket.status is TicketStatus.ACTIVE
    assert held_by(ticket) is None
    assert (ticket.handler, ticket.handled_ms) == ("a01", 60_000)


def test_an_event_before_its_start_waits_for_it() -> None:
    with pytest.raises(NotApplicable, match="no_start"):
        decide(some_work(), nothing_known(), an_event("chat.message", text="在吗"), 0, NOON)


def test_a_new_chat_opens_its_own_ticket_and_an_email_joins_the_contacts_open_one() -> None:
    work, known = some_work(), nothing_known()
    who = {"email": "W@example.com"}
    decide(work, known, an_event("chat.started", "c1", contact=who), 0, NOON)
    decide(work, known, an_event("chat.started", "c2", contact=who), 0, NOON)
    decide(work, known, an_event("email.received", "m1", text="一", contact=who), 0, NOON)
    decide(work, known, an_event("email.received", "m2", text="二", contact={"email": "w@EXAMPLE.com"}), 0, NOON)
    assert len(work.tickets) == 3
    assert known.by_interaction[("acme", "m1")] == known.by_interaction[("acme", "m2")]
    assert len({t.contact for t in work.tickets.values()}) == 1


def test_two_external_ids_are_never_one_contact_and_a_new_one_takes_over_an_address() -> None:
    work, known = some_work(), nothing_known()
    for interaction, contact in [
        ("m1", {"phone": "138 0013 8000"}),
        ("m2", {"phone": "13800138000", "external_id": "crm-1"}),
        ("m3", {"phone": "13800138000", "external_id": "crm-2"}),
        ("m4", {"phone": "13800138000"}),
    ]:
        decide(work, known, an_event("message.left", interaction, text="x", contact=contact), 0, NOON)
    of = {i: work.tickets[known.by_interaction[("acme", i)]].contact for i in ("m1", "m2", "m3", "m4")}
    assert of["m1"] == of["m2"] == of["m4"]
    assert of["m3"] != of["m1"]


def test_every_message_left_is_told_to_the_administrators() -> None:
    work, known = some_work(), nothing_known()
    contact = {"name": "王芳", "phone": "13800138000"}
    decide(work, known, an_event("message.left", "m1", text="请回电", contact=contact), 0, NOON)
    decide(work, known, an_event("message.left", "m2", text="急", contact=contact), 0, NOON)
    told = [w.event.data for w in work.wanted]
    assert [(w.occasion, w.roles, w.text, w.reachable) for w in told] == [
        ("offline_message", ["administrator"], "请回电", "13800138000"),
        ("offline_message", ["administrator"], "急", "13800138000"),
    ]


def test_the_plans_texts_go_out_once() -> None:
    texts = Texts(welcome="您好，有什么可以帮您的吗?", closing="再见")
    work, known = some_work(a_directory(a_group("sales", "a01"), texts=texts)), nothing_known()
    decide(work, known, an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    rules.claim(work, ticket, "a01", later(1))
    rules.resolve(work, ticket, "a01", "", None, later(2))
    said = [i.event.data.text for i in work.instructions if i.event.type == "kefu.chat.say"]
    assert said == ["您好，有什么可以帮您的吗?", "再见"]
    assert instructions_of(work) == ["chat.say", "chat.assigned", "chat.say", "chat.close"]


def test_public_events_name_only_words_of_the_directory() -> None:
    work, known = some_work(), nothing_known()
    decide(
        work, known, an_event("chat.started", source="王芳的手机", category="sales", contact={"name": "王芳"}), 0, NOON
    )
    for happened in work.history:
        assert happened.event.data.source == "other"
        assert happened.event.data.category == "sales"
        assert "王芳" not in happened.event.to_bytes().decode()
