"""What adapters' events do, decided without any I/O."""

from dataclasses import replace

import pytest

from kefu_common.events.directory import Texts
from kefu_common.events.messages import ContactAddress
from kefu_common.events.outbound import ChatSay
from kefu_common.events.words import TicketStatus
from kefu_routing.domain import offers
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.interactions import Known, decide
from kefu_routing.domain.model import Instructed, Message, OfferStatus, Ticket
from kefu_routing.domain.outcomes import move_reply
from kefu_routing.domain.refusals import NotApplicable
from kefu_routing.domain.work import Work
from tests.routing.builders import (
    NOON,
    a_directory,
    a_group,
    an_event,
    an_id,
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
    made = offers.offer(work, ticket, agent, NOON, {})
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
    # Told to stop ringing, a switch would end the conversation.
    assert instructions_of(work) == ["call.ring"]


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
    said = [i.event.data.text for i in work.instructions if isinstance(i.event.data, ChatSay)]
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


def _answered_and_passed_on() -> tuple[Work, Known, Ticket]:
    """A caller whom a01 answered and passed on to the group."""
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(3), agent="a01"), 0, later(3))
    rules.transfer_to_group(work, ticket, "a01", "sales", "问售前", later(30))
    return work, known, ticket


def test_a_caller_who_hangs_up_while_passed_on_is_the_owners_to_look_after() -> None:
    # T-15
    work, known, ticket = _answered_and_passed_on()
    made = offers.offer(work, ticket, "a02", later(31), {})
    known.offers[made.id] = made
    decide(work, known, an_event("call.ended", at=later(35)), 0, later(35))
    assert (ticket.status, ticket.handler, ticket.holder, ticket.live) == (TicketStatus.ACTIVE, "a01", None, False)
    assert made.status is OfferStatus.WITHDRAWN
    assert instructions_of(work) == ["call.ring", "call.ring", "call.cancel"]
    assert "abandoned" not in types_of(work)
    assert (ticket.handled_ms, ticket.handling_since) == (27_000, None)
    rules.resolve(work, ticket, "a01", "已回电", None, later(600))
    assert instructions_of(work)[-1] == "call.cancel"


def test_what_remains_of_a_call_rings_nobody_and_fills_nobodys_hands() -> None:
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(3), agent="a01"), 0, later(3))
    decide(work, known, an_event("call.ended", at=later(60)), 0, later(60))
    rules.transfer_to_group(work, ticket, "a01", "sales", "跟进", later(61))
    made = offers.offer(work, ticket, "a02", later(62), {})
    assert instructions_of(work) == ["call.ring"]
    assert held_by(ticket) is None
    assert made.expires_at == later(62 + 300)
    offers.give_back(work, ticket, made, OfferStatus.LAPSED, later(400))
    assert instructions_of(work) == ["call.ring"]


def test_the_time_before_the_switch_moved_the_call_is_handling_time_too() -> None:
    work, known, ticket = _ringing()
    decide(work, known, an_event("call.answered", at=later(3), agent="a01"), 0, later(3))
    decide(work, known, an_event("call.transferred", at=later(13), to="8002"), 0, later(13))
    assert ticket.handler == "a02"
    rules.resolve(work, ticket, "a02", "", None, later(33))
    assert ticket.handled_ms == 30_000


def test_an_interaction_stays_on_its_site_and_channel() -> None:
    work, known, _ticket = _ringing()
    elsewhere = replace(an_event("call.ended", at=later(5)), source="/sites/night")
    with pytest.raises(NotApplicable, match="other_site"):
        decide(work, known, elsewhere, 0, later(5))
    with pytest.raises(NotApplicable, match="other_channel"):
        decide(work, known, an_event("chat.ended", at=later(5)), 0, later(5))
    with pytest.raises(NotApplicable, match="other_channel"):
        decide(work, known, an_event("email.received", text="x"), 0, later(5))
    assert types_of(work) == ["opened", "queued", "offered"]


def _asked_to_ring(work: Work, known: Known) -> str:
    """The ring's id, as the store would know it again."""
    ring = work.instructions[0].event
    known.instructed[ring.id] = Instructed(ring.id, ring.data.ticket, None, ring.data.offer)  # type: ignore[attr-defined]
    return str(ring.id)


def test_a_phone_that_cannot_be_rung_gives_the_offer_back_at_once() -> None:
    work, known, ticket = _ringing()
    ring = _asked_to_ring(work, known)
    decide(work, known, an_event("instruction.failed", at=later(1), instruction=ring, reason="busy"), 0, later(1))
    assert ticket.status is TicketStatus.QUEUED
    assert list(ticket.passed) == ["a01"]
    assert [h.why for h in work.history if h.event.type == "kefu.ticket.lapsed"] == [{"reason": "ring_failed"}]


def test_an_outcome_moves_only_what_was_asked_of_its_own_interaction() -> None:
    work, known, _ticket = _ringing()
    ring = _asked_to_ring(work, known)
    decide(work, known, an_event("call.started", "another"), 0, NOON)
    for instruction, interaction in [(ring, "another"), (str(an_id()), "i1"), ("no id", "i1")]:
        with pytest.raises(NotApplicable, match="unknown_instruction"):
            decide(work, known, an_event("instruction.done", interaction, instruction=instruction), 0, later(1))
    assert work.outcomes == {}


@pytest.mark.parametrize(
    ("before", "news", "after"),
    [
        ("pending", "sent", "sent"),
        ("pending", "failed", "failed"),
        ("sent", "failed", "failed"),
        ("failed", "sent", "sent"),
        ("delivered", "sent", "delivered"),
        ("delivered", "failed", "delivered"),
        ("sent", "read", "read"),
        ("read", "delivered", "read"),
    ],
)
def test_a_reply_whose_failure_was_mended_is_sent_and_late_news_changes_nothing(
    before: str, news: str, after: str
) -> None:
    work, _known, ticket = _ringing()
    message = Message(an_id(), "acme", ticket.id, NOON, "agent", "您好", "a01", state=before)
    move_reply(work, ticket, message, news, later(1), cause="adapter")
    assert work.message_states.get(message.id, before) == after
    assert ("reply_failed" in types_of(work)) == (after == "failed")


REAL = {"phone": "138 0013 8000"}
STRANGER = {"phone": "13800138000", "email": "stranger@example.com"}


@pytest.mark.parametrize("writers", [[REAL, STRANGER, REAL], [STRANGER, REAL, STRANGER]])
def test_whoever_writes_is_answered_where_they_wrote_from(writers: list[dict[str, str]]) -> None:
    work, known = some_work(), nothing_known()
    for n, writer in enumerate(writers):
        decide(work, known, an_event("message.left", f"m{n}", text="x", contact=writer), 0, NOON)
    tickets = [work.tickets[known.by_interaction[("acme", f"m{n}")]] for n in range(3)]
    # The same contact, but never the same ticket: a reply to the one would reach the other.
    assert len({t.contact for t in tickets}) == 1
    assert tickets[0].id != tickets[1].id
    for ticket, writer in zip(tickets, writers, strict=True):
        assert (ticket.reply_phone, ticket.reply_email) == (writer["phone"], writer.get("email"))
    for ticket in {t.id: t for t in tickets}.values():
        rules.claim(work, ticket, "a01", later(1))
        contact = known.contacts.contacts[ticket.contact]
        rules.reply(work, ticket, contact, "a01", "已处理", later(2))
        to = work.wanted[-1].event.data.to
        assert to == ContactAddress(email=ticket.reply_email, phone=ticket.reply_phone)


def test_a_phone_number_brings_no_mail_address_to_whom_it_belongs() -> None:
    work, known = some_work(), nothing_known()
    decide(work, known, an_event("message.left", "m1", text="x", contact=REAL), 0, NOON)
    decide(work, known, an_event("message.left", "m2", text="y", contact=STRANGER), 0, NOON)
    (contact,) = known.contacts.contacts.values()
    assert contact.email is None
    assert ("acme", "email", "stranger@example.com") not in known.contacts.by_key


def test_a_contact_whom_the_adapter_knows_is_answered_at_the_address_of_their_last_mail() -> None:
    work, known = some_work(), nothing_known()
    for interaction, email in [("m1", "one@example.com"), ("m2", "two@example.com")]:
        claim = {"external_id": "crm-1", "email": email}
        decide(work, known, an_event("email.received", interaction, text="x", contact=claim), 0, NOON)
    assert the_ticket(work).reply_email == "two@example.com"
    decide(work, known, an_event("email.received", "m3", text="x", contact={"email": "ONE@example.com"}), 0, NOON)
    assert len(work.tickets) == 2
    assert len(known.contacts.contacts) == 1


def test_the_end_of_a_call_that_is_over_changes_nothing() -> None:
    work, known, ticket = _answered_and_passed_on()
    decide(work, known, an_event("call.ended", at=later(35)), 0, later(35))
    rules.transfer_to_group(work, ticket, "a01", "sales", "跟进", later(40))
    made = offers.offer(work, ticket, "a02", later(41), {})
    known.offers[made.id] = made
    events = len(work.history)
    decide(work, known, an_event("call.ended", at=later(50)), 0, later(50))
    assert (ticket.status, made.status, len(work.history)) == (TicketStatus.OFFERED, OfferStatus.OPEN, events)


def test_a_caller_who_leaves_when_their_owner_is_gone_is_looked_after_by_the_group() -> None:
    work, known, ticket = _answered_and_passed_on()
    del work.directories["acme"].agents["a01"]
    decide(work, known, an_event("call.ended", at=later(35)), 0, later(35))
    assert (ticket.status, ticket.live) == (TicketStatus.QUEUED, False)
    assert "abandoned" not in types_of(work)


def test_how_long_an_agent_is_passed_over_is_measured_by_our_own_clock() -> None:
    work, known, ticket = _ringing()
    ring = _asked_to_ring(work, known)
    slow_clock = an_event("instruction.failed", at=later(-3600), instruction=ring)
    decide(work, known, slow_clock, 0, later(1))
    assert ticket.passed == {"a01": later(1).isoformat()}


def test_a_further_mail_of_a_thread_that_names_nobody_is_its_own_contacts() -> None:
    work, known = some_work(), nothing_known()
    decide(work, known, an_event("email.received", "m1", text="x", contact={"email": "w@example.com"}), 0, NOON)
    decide(work, known, an_event("email.received", "m1", text="y"), 0, later(1))
    assert len(known.contacts.contacts) == 1
    assert len(work.messages) == 2


def test_a_claimed_call_rings_the_agent_who_claims_it() -> None:
    work, known = some_work(), nothing_known()
    decide(work, known, an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    rules.claim(work, ticket, "a02", later(1))
    assert (ticket.status, ticket.holder) == (TicketStatus.OFFERED, "a02")
    assert instructions_of(work) == ["call.ring"]


def test_a_code_that_the_directory_does_not_name_is_other_in_public() -> None:
    work, known = some_work(), nothing_known()
    decide(work, known, an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    rules.claim(work, ticket, "a01", later(1))
    rules.resolve(work, ticket, "a01", "", "13800138000", later(2))
    assert work.history[-1].event.data.code == "other"  # type: ignore[attr-defined]
    assert work.history[-1].why == {"code": "13800138000"}
