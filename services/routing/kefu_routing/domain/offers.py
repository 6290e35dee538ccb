"""Offers: a ticket reserved for one agent until they accept or decline, or the offer lapses.

Every function changes the ticket and the offer that it is given; the caller holds the ticket's lock.
"""

from datetime import datetime, timedelta

from kefu_common.events import outbound
from kefu_common.events import tickets as happened
from kefu_common.events.words import Channel, TicketStatus
from kefu_routing.domain.holding import enqueue, seconds_between, take
from kefu_routing.domain.model import Offer, OfferStatus, Ticket
from kefu_routing.domain.refusals import NotYours, OfferOver
from kefu_routing.domain.work import Work

DEFAULT_OFFER_S = {Channel.CALL: 15, Channel.CHAT: 30, Channel.EMAIL: 300, Channel.MESSAGE: 300}
"""Seconds until an offer lapses; calls: three rings (K-01)."""


def offer(work: Work, ticket: Ticket, agent: str, at: datetime, why: dict[str, object]) -> Offer:
    """Reserve it for the agent; a call's adapter is told to ring them."""
    expires_at = at + timedelta(seconds=_offer_s(work, ticket))
    ticket.fence += 1
    made = Offer(
        work.new_id(),
        ticket.account,
        ticket.id,
        agent,
        ticket.channel,
        ticket.partition,
        ticket.fence,
        OfferStatus.OPEN,
        at,
        expires_at,
    )
    work.offers[made.id] = made
    ticket.status, ticket.offer = TicketStatus.OFFERED, made.id
    ticket.holder = agent if ticket.takes_capacity else None
    waited_s = seconds_between(ticket.opened_at, at)
    work.happen(
        ticket,
        happened.TicketOffered,
        at,
        why=why,
        agent=agent,
        offer=made.id,
        fence=made.fence,
        expires_at=expires_at,
        waited_s=waited_s,
    )
    if ticket.channel is Channel.CALL and ticket.live:
        phone = _phone(work, ticket, agent)
        work.instruct(
            ticket, outbound.CallRing, at, expires_at, agent=agent, phone=phone, offer=made.id, fence=made.fence
        )
    return made


def accept(work: Work, ticket: Ticket, made: Offer, agent: str, at: datetime) -> None:
    """The agent takes what was offered. The same agent accepting again changes nothing.

    Raises:
        NotYours: it was offered to somebody else.
        OfferOver: it lapsed, was declined or withdrawn.
    """
    if made.agent != agent:
        raise NotYours("the offer is another agent's")
    if made.status is OfferStatus.ACCEPTED and ticket.handler == agent:
        return
    if made.status is not OfferStatus.OPEN or ticket.offer != made.id or at > made.expires_at:
        raise OfferOver(f"the offer is {'lapsed' if made.status is OfferStatus.OPEN else made.status}")
    _end_offer(work, made, OfferStatus.ACCEPTED)
    take(work, ticket, agent, at, by="accept", offer_id=made.id)


def decline(work: Work, ticket: Ticket, made: Offer, agent: str, reason: str | None, at: datetime) -> None:
    """The agent refuses: back to the head of the queue, and not to this agent for a while. Raises as `accept`."""
    if made.agent != agent:
        raise NotYours("the offer is another agent's")
    if made.status is not OfferStatus.OPEN or ticket.offer != made.id:
        raise OfferOver(f"the offer is {made.status}")
    give_back(work, ticket, made, OfferStatus.DECLINED, at, reason)


def give_back(
    work: Work, ticket: Ticket, made: Offer, how: OfferStatus, at: datetime, reason: str | None = None
) -> None:
    """End an open offer without an answer: declined, lapsed, or withdrawn because the agent went away."""
    _end_offer(work, made, how)
    _cancel_ring(work, ticket, made, at)
    why = {"reason": reason} if reason else None
    if how is OfferStatus.DECLINED:
        work.happen(ticket, happened.TicketDeclined, at, why=why, agent=made.agent, offer=made.id)
    elif how is OfferStatus.LAPSED:
        work.happen(ticket, happened.TicketLapsed, at, why=why, agent=made.agent, offer=made.id)
    if how is not OfferStatus.WITHDRAWN:
        ticket.passed = {**ticket.passed, made.agent: at.isoformat()}
    enqueue(work, ticket, how.value, at)


def drop_offer(work: Work, ticket: Ticket, made: Offer | None, at: datetime, answered_by: str | None = None) -> None:
    """End the open offer, if there is one, because the ticket goes another way.

    Whoever has picked up is not told to stop ringing: a switch might end the conversation.
    """
    if made is not None and made.status is OfferStatus.OPEN:
        _end_offer(work, made, OfferStatus.WITHDRAWN)
        if made.agent != answered_by:
            _cancel_ring(work, ticket, made, at)
    ticket.offer = None


def _offer_s(work: Work, ticket: Ticket) -> int:
    """How long an offer of it stands; what remains of a call or chat is work like a written one."""
    channel = ticket.channel if ticket.takes_capacity else Channel.EMAIL
    plan = work.directories[ticket.account].plans.get(ticket.site)
    return (plan.offer_s.get(channel.value) if plan else None) or DEFAULT_OFFER_S[channel]


def _end_offer(work: Work, made: Offer, how: OfferStatus) -> None:
    made.status = how
    work.offers[made.id] = made


def _cancel_ring(work: Work, ticket: Ticket, made: Offer, at: datetime) -> None:
    if ticket.channel is Channel.CALL and ticket.live:
        phone = _phone(work, ticket, made.agent)
        work.instruct(ticket, outbound.CallCancel, at, agent=made.agent, phone=phone, offer=made.id, fence=made.fence)


def _phone(work: Work, ticket: Ticket, agent: str) -> str | None:
    known = work.directories[ticket.account].agents.get(agent)
    return known.phone if known else None
