"""Offers and commands: what each does, and when it may not (K-01, T-15)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kefu_common.events.outbound import CallCancel
from kefu_common.events.words import TicketStatus
from kefu_routing.domain import offers, refusals
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import Contact, Offer, OfferStatus, Ticket
from kefu_routing.domain.work import Work
from tests.routing.builders import NOON, an_event, an_id, later, nothing_known, some_work, the_ticket, types_of


def _on_offer(agent: str = "a01") -> tuple[Work, Ticket, Offer]:
    work = some_work()
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    return work, ticket, offers.offer(work, ticket, agent, NOON, {})


def test_a_lapsed_offer_cannot_be_accepted() -> None:
    work, ticket, made = _on_offer()
    with pytest.raises(refusals.OfferOver):
        offers.accept(work, ticket, made, "a01", later(31))
    offers.give_back(work, ticket, made, OfferStatus.LAPSED, later(31))
    with pytest.raises(refusals.OfferOver):
        offers.accept(work, ticket, made, "a01", later(1))


@pytest.mark.parametrize("how", [OfferStatus.LAPSED, OfferStatus.DECLINED, OfferStatus.WITHDRAWN])
def test_the_end_of_a_calls_offer_stops_the_ringing(how: OfferStatus) -> None:
    work = some_work()
    decide(work, nothing_known(), an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    made = offers.offer(work, ticket, "a01", NOON, {})
    offers.give_back(work, ticket, made, how, later(5))
    ring, cancel = (i.event.data for i in work.instructions)
    assert isinstance(cancel, CallCancel)
    assert (cancel.agent, cancel.phone, cancel.offer, cancel.fence) == ("a01", "8001", made.id, made.fence)
    assert ring.expires_at == made.expires_at


def test_another_agents_offer_cannot_be_accepted_and_ones_own_can_be_again() -> None:
    work, ticket, made = _on_offer("a01")
    with pytest.raises(refusals.NotYours):
        offers.accept(work, ticket, made, "a02", later(1))
    offers.accept(work, ticket, made, "a01", later(1))
    events = len(work.history)
    offers.accept(work, ticket, made, "a01", later(99))
    assert len(work.history) == events


def test_the_first_agent_stays_the_owner() -> None:
    work, ticket, made = _on_offer("a01")
    offers.accept(work, ticket, made, "a01", later(1))
    rules.transfer_to_agent(work, ticket, "a01", "a02", "换班", later(2))
    second = work.offers[ticket.offer or an_id()]
    offers.accept(work, ticket, second, "a02", later(3))
    assert (ticket.owner, ticket.handler) == ("a01", "a02")
    assert second.fence > made.fence


def test_a_command_in_the_wrong_state_says_which_are_possible() -> None:
    work, ticket, _made = _on_offer()
    with pytest.raises(refusals.WrongState) as refused:
        rules.resolve(work, ticket, "a01", "", None, later(1))
    assert refused.value.possible == ["accept", "decline", "note"]


def test_only_the_handler_replies() -> None:
    work, ticket, made = _on_offer("a01")
    offers.accept(work, ticket, made, "a01", later(1))
    contact = Contact(ticket.contact, "acme", NOON)
    with pytest.raises(refusals.NotYours):
        rules.reply(work, ticket, contact, "a02", "我来", later(2))
    rules.reply(work, ticket, contact, "a01", "您好", later(5))
    rules.reply(work, ticket, contact, "a01", "请讲", later(9))
    replies = [h.event.data for h in work.history if h.event.type == "kefu.ticket.replied"]
    assert [(r.first, r.first_reply_s) for r in replies] == [(True, 5.0), (False, None)]  # type: ignore[attr-defined]


COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "accept", "decline", "lapse", "claim", "transfer", "resolve", "leave", "note"]),
        st.sampled_from(["a01", "a02"]),
    ),
    max_size=25,
)


@given(COMMANDS)
@settings(max_examples=300, deadline=None)
def test_whatever_is_commanded_one_agent_holds_it_and_the_sequence_has_no_gap(commands: list[tuple[str, str]]) -> None:
    work = some_work()
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    for step, (command, agent) in enumerate(commands):
        try:
            _carry_out(work, ticket, command, agent, step)
        except refusals.CommandRefused:
            continue
        still_open = [o for o in work.offers.values() if o.status is OfferStatus.OPEN]
        assert len(still_open) == (ticket.status is TicketStatus.OFFERED)
        assert (ticket.handler is not None and ticket.is_open) == (ticket.status is TicketStatus.ACTIVE)
        if ticket.status is TicketStatus.ACTIVE:
            assert ticket.holder == (ticket.handler if ticket.live else None)
    assert [h.event.sequence for h in work.history] == list(range(1, len(work.history) + 1))
    assert types_of(work)[0] == "opened"
    fences = [o.fence for o in work.offers.values()]
    assert fences == sorted(set(fences))


def _carry_out(work: Work, ticket: Ticket, command: str, agent: str, step: int) -> None:
    at, made = later(step), work.offers.get(ticket.offer) if ticket.offer else None
    match command:
        case "offer" if ticket.status is TicketStatus.QUEUED:
            offers.offer(work, ticket, agent, at, {})
        case "accept" if made is not None:
            offers.accept(work, ticket, made, agent, at)
        case "decline" if made is not None:
            offers.decline(work, ticket, made, agent, None, at)
        case "lapse" if made is not None:
            offers.give_back(work, ticket, made, OfferStatus.LAPSED, at)
        case "claim":
            rules.claim(work, ticket, agent, at)
        case "transfer":
            rules.transfer_to_group(work, ticket, agent, "sales", "", at)
        case "resolve":
            rules.resolve(work, ticket, agent, "好", None, at)
        case "leave" if ticket.is_open:
            rules.contact_left(work, ticket, made, "left", at)
        case "note":
            rules.note(work, ticket, agent, "记一下", at)
