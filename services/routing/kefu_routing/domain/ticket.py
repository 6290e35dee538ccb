"""A ticket's life: what each command does to it, and when it may not.

Every function changes the ticket it is given and records in `work` what follows; the caller holds the ticket's lock.

CommandRefused
├── WrongState     not in this status; says which commands are possible
├── NotYours       another agent has it, or the offer was another's
├── OfferOver      the offer lapsed or was withdrawn
└── CannotTake     the agent may not take it: signed out, no room, not in the group
"""

from datetime import datetime, timedelta
from uuid import UUID

from kefu_common.events import outbound
from kefu_common.events import tickets as happened
from kefu_common.events.messages import ContactAddress, MessageWanted
from kefu_common.events.words import Channel, Occasion, TicketStatus
from kefu_routing.domain.model import Contact, Message, Note, Offer, OfferStatus, Ticket
from kefu_routing.domain.work import Work

DEFAULT_OFFER_S = {Channel.CALL: 15, Channel.CHAT: 30, Channel.EMAIL: 300, Channel.MESSAGE: 300}
"""Seconds until an offer lapses; calls: three rings (K-01)."""

_POSSIBLE: dict[TicketStatus, list[str]] = {
    TicketStatus.QUEUED: ["claim", "note"],
    TicketStatus.OFFERED: ["accept", "decline", "note"],
    TicketStatus.ACTIVE: ["reply", "note", "transfer", "resolve"],
}


class CommandRefused(Exception):
    """A command that cannot be carried out now; nothing was changed."""


class WrongState(CommandRefused):
    """The ticket is not in a status that allows it."""

    def __init__(self, status: TicketStatus) -> None:
        super().__init__(f"the ticket is {status}")
        self.possible = _POSSIBLE.get(status, ["note"])


class NotYours(CommandRefused):
    """Somebody else has the ticket or the offer."""


class OfferOver(CommandRefused):
    """The offer is not open any more."""


class CannotTake(CommandRefused):
    """The agent may not take the ticket; the message says why."""


def need(ticket: Ticket, *statuses: TicketStatus) -> None:
    """Raises `WrongState` unless the ticket is in one of these."""
    if ticket.status not in statuses:
        raise WrongState(ticket.status)


def need_handler(ticket: Ticket, agent: str) -> None:
    """Raises `WrongState` unless somebody works on it, `NotYours` unless it is this agent."""
    need(ticket, TicketStatus.ACTIVE)
    if ticket.handler != agent:
        raise NotYours(f"the handler is {ticket.handler}")


def enqueue(work: Work, ticket: Ticket, cause: str, at: datetime, group: str | None = None) -> None:
    """Put it (back) into the queue of its group; its place is by age, so a returned one is at the head."""
    ticket.status, ticket.holder, ticket.offer = TicketStatus.QUEUED, None, None
    ticket.group = group or ticket.group
    work.happen(ticket, happened.TicketQueued, at, cause=cause)
    if ticket.group is not None:
        work.groups_to_assign.add((ticket.account, ticket.group))


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
    waited_s = _seconds(ticket.opened_at, at)
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
    wait_s = _seconds(ticket.opened_at, at)
    work.happen(ticket, happened.TicketAssigned, at, agent=agent, offer=offer_id, by=by, wait_s=wait_s, first=first)
    if ticket.channel is Channel.CHAT and ticket.live:
        work.instruct(ticket, outbound.ChatAssigned, at, staff=agent)


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


def claim(work: Work, ticket: Ticket, agent: str, at: datetime) -> None:
    """The agent takes it from the queue themselves; a caller who waits is connected by ringing the agent.

    Raises `WrongState`, or `CannotTake` outside their groups.
    """
    need(ticket, TicketStatus.QUEUED)
    group = work.directories[ticket.account].groups.get(ticket.group or "")
    if group is None or agent not in group.agents:
        raise CannotTake(f"agent {agent} is not in the group {ticket.group}")
    if ticket.channel is Channel.CALL and ticket.live:
        offer(work, ticket, agent, at, {"claimed_by": agent})
    else:
        take(work, ticket, agent, at, by="claim")


def reply(work: Work, ticket: Ticket, contact: Contact, agent: str, text: str, at: datetime) -> Message:
    """Answer the contact by the way they came.

    Raises:
        WrongState, NotYours: only the handler of an active ticket replies.
        CannotTake: a call is answered by voice, and a contact without an address cannot be written to.
    """
    need_handler(ticket, agent)
    message_id = work.new_id()
    match ticket.channel:
        case Channel.CHAT:
            work.instruct(ticket, outbound.ChatSay, at, text=text, staff=agent, message=message_id)
        case Channel.EMAIL | Channel.MESSAGE:
            if not (ticket.reply_email or ticket.reply_phone):
                raise CannotTake("the contact left neither an e-mail address nor a phone number")
            work.want(ticket, at, _reply_wanted(ticket, contact, agent, text, message_id))
        case Channel.CALL:
            raise CannotTake("a call is answered by voice; write a note instead")
    message = Message(message_id, ticket.account, ticket.id, at, "agent", text, agent, state="pending")
    work.messages.append(message)
    first = ticket.replied_at is None
    ticket.replied_at = ticket.replied_at or at
    first_reply_s = _seconds(ticket.opened_at, at) if first else None
    work.happen(
        ticket, happened.TicketReplied, at, agent=agent, message=message_id, first=first, first_reply_s=first_reply_s
    )
    return message


def note(work: Work, ticket: Ticket, agent: str, text: str, at: datetime) -> None:
    """Write an internal note, in any status."""
    written = _write_note(work, ticket, agent, text, at)
    work.happen(ticket, happened.TicketNoted, at, why={"note": written}, agent=agent)


def transfer_to_group(work: Work, ticket: Ticket, agent: str, group: str, reason: str, at: datetime) -> None:
    """Pass it on to another group's queue. Raises `WrongState`, `NotYours`."""
    need_handler(ticket, agent)
    before = ticket.group
    pause_handling(ticket, at)
    ticket.handler, ticket.group = None, group
    why = {"reason": reason}
    work.happen(ticket, happened.TicketTransferred, at, why=why, agent=agent, from_group=before, to_group=group)
    enqueue(work, ticket, "transferred", at)
    _wake_groups_of(work, ticket.account, agent)


def transfer_to_agent(work: Work, ticket: Ticket, agent: str, to: str, reason: str, at: datetime) -> None:
    """Offer it to a colleague; if they do not take it, it waits in the group. Raises `WrongState`, `NotYours`."""
    need_handler(ticket, agent)
    pause_handling(ticket, at)
    ticket.handler = None
    work.happen(ticket, happened.TicketTransferred, at, why={"reason": reason}, agent=agent, to_agent=to)
    offer(work, ticket, to, at, {"transferred_by": agent})
    _wake_groups_of(work, ticket.account, agent)


def resolve(work: Work, ticket: Ticket, agent: str, text: str, code: str | None, at: datetime) -> None:
    """End the work; the text is kept as a note. A chat is closed, a call that still goes on is ended."""
    need_handler(ticket, agent)
    pause_handling(ticket, at)
    why: dict[str, object] = {"note": _write_note(work, ticket, agent, text, at)} if text else {}
    if code is not None:
        why["code"] = code
    ticket.status, ticket.holder, ticket.due_at = TicketStatus.RESOLVED, None, None
    if ticket.live and ticket.channel is Channel.CHAT:
        plan = work.directories[ticket.account].plans.get(ticket.site)
        if plan and plan.texts.closing:
            say(work, ticket, plan.texts.closing, at)
        work.instruct(ticket, outbound.ChatClose, at)
    elif ticket.live and ticket.channel is Channel.CALL:
        work.instruct(ticket, outbound.CallHangUp, at)
    ticket.live = False
    handling_s = ticket.handled_ms / 1000
    # The directory names no codes yet, and what it does not name is `other` in public.
    public_code = None if code is None else "other"
    work.happen(ticket, happened.TicketResolved, at, why=why, agent=agent, code=public_code, handling_s=handling_s)
    _wake_groups_of(work, ticket.account, agent)


def abandon(work: Work, ticket: Ticket, made: Offer | None, reason: str, at: datetime) -> None:
    """Nobody answered in time: the contact left (`left`, `hang_up`) or waited too long (`max_wait`)."""
    ringing = ticket.status is TicketStatus.OFFERED
    drop_offer(work, ticket, made, at)
    ticket.status, ticket.reason, ticket.holder, ticket.give_up_at = TicketStatus.ABANDONED, reason, None, None
    wait_s = _seconds(ticket.opened_at, at)
    work.happen(ticket, happened.TicketAbandoned, at, wait_s=wait_s, ringing=ringing)
    if reason == "max_wait":
        turn_away(work, ticket, reason, at)
    ticket.live = False
    if made is not None:
        _wake_groups_of(work, ticket.account, made.agent)


def turn_away(work: Work, ticket: Ticket, reason: str, at: datetime) -> None:
    """Tell a caller or visitor that nobody will come, with the plan's offline text (O-05)."""
    plan = work.directories[ticket.account].plans.get(ticket.site)
    text = plan.texts.offline if plan else None
    if ticket.channel is Channel.CHAT:
        work.instruct(ticket, outbound.ChatRefused, at, reason=reason, text=text)
    elif ticket.channel is Channel.CALL:
        if text:
            work.instruct(ticket, outbound.CallPlay, at, text=text)
        work.instruct(ticket, outbound.CallHangUp, at)


def say(work: Work, ticket: Ticket, text: str, at: datetime) -> None:
    """Say one of the plan's texts, as nobody in particular."""
    message_id = work.new_id()
    if ticket.channel is Channel.CALL:
        work.instruct(ticket, outbound.CallPlay, at, carries=message_id, text=text)
    else:
        work.instruct(ticket, outbound.ChatSay, at, text=text, staff="auto", message=message_id)
    work.messages.append(Message(message_id, ticket.account, ticket.id, at, "system", text, state="pending"))


def contact_left(work: Work, ticket: Ticket, made: Offer | None, reason: str, at: datetime) -> None:
    """The call or chat is over: abandoned if nobody had answered, otherwise the agent's hands are free again.

    Whoever left while they were passed on is the owner's to look after (T-15): nobody else knows of them.
    """
    owner = ticket.owner if ticket.owner in work.directories[ticket.account].agents else None
    if ticket.status in (TicketStatus.QUEUED, TicketStatus.OFFERED):
        if owner is None:
            abandon(work, ticket, made, reason, at)
            return
        drop_offer(work, ticket, made, at)
        ticket.live = False
        take(work, ticket, owner, at, by="owner")
        pause_handling(ticket, at)
        if made is not None:
            _wake_groups_of(work, ticket.account, made.agent)
        return
    ticket.live = False
    if ticket.status is TicketStatus.ACTIVE and ticket.holder is not None:
        pause_handling(ticket, at)
        _wake_groups_of(work, ticket.account, ticket.holder)
        ticket.holder = None
    work.tickets[ticket.id] = ticket


def pause_handling(ticket: Ticket, at: datetime) -> None:
    """Nobody has it in hand for now: the time until here is the handling time so far."""
    if ticket.handling_since is not None:
        ticket.handled_ms += max(0, round((at - ticket.handling_since).total_seconds() * 1000))
        ticket.handling_since = None


def _write_note(work: Work, ticket: Ticket, agent: str, text: str, at: datetime) -> UUID:
    written = Note(work.new_id(), ticket.account, ticket.id, at, agent, text)
    work.notes.append(written)
    return written.id


def _end_offer(work: Work, made: Offer, how: OfferStatus) -> None:
    made.status = how
    work.offers[made.id] = made


def _offer_s(work: Work, ticket: Ticket) -> int:
    """How long an offer of it stands; what remains of a call or chat is work like a written one."""
    channel = ticket.channel if ticket.takes_capacity else Channel.EMAIL
    plan = work.directories[ticket.account].plans.get(ticket.site)
    return (plan.offer_s.get(channel.value) if plan else None) or DEFAULT_OFFER_S[channel]


def _cancel_ring(work: Work, ticket: Ticket, made: Offer, at: datetime) -> None:
    if ticket.channel is Channel.CALL and ticket.live:
        phone = _phone(work, ticket, made.agent)
        work.instruct(ticket, outbound.CallCancel, at, agent=made.agent, phone=phone, offer=made.id, fence=made.fence)


def _phone(work: Work, ticket: Ticket, agent: str) -> str | None:
    known = work.directories[ticket.account].agents.get(agent)
    return known.phone if known else None


def _wake_groups_of(work: Work, account: str, agent: str) -> None:
    for group in work.directories[account].groups.values():
        if agent in group.agents:
            work.groups_to_assign.add((account, group.id))


def _reply_wanted(ticket: Ticket, contact: Contact, agent: str, text: str, message: UUID) -> MessageWanted:
    return MessageWanted(
        occasion=Occasion.REPLY,
        ticket=ticket.id,
        contact=contact.id,
        channel=ticket.channel,
        to=ContactAddress(email=ticket.reply_email, phone=ticket.reply_phone),
        agent=agent,
        message=message,
        text=text,
        subject=ticket.subject,
        name=contact.name,
    )


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, round((end - start).total_seconds(), 3))
