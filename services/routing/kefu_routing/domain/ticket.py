"""A ticket's life: what each command does to it, and when it may not.

Every function changes the ticket it is given and records in `work` what follows; the caller holds the ticket's lock.
"""

from datetime import datetime, timedelta
from uuid import UUID

from kefu_common.events import outbound
from kefu_common.events import tickets as happened
from kefu_common.events.messages import ContactAddress, MessageWanted
from kefu_common.events.words import Channel, Occasion, TicketStatus
from kefu_routing.domain import admission, offers, texts
from kefu_routing.domain.holding import enqueue, free, pause_handling, seconds_between, take, wake_groups_of
from kefu_routing.domain.model import Contact, Message, Note, Offer, Ticket
from kefu_routing.domain.refusals import CannotTake, need, need_handler
from kefu_routing.domain.work import Work


def claim(work: Work, ticket: Ticket, agent: str, at: datetime) -> None:
    """The agent takes it from the queue themselves; a caller who waits is connected by ringing the agent.

    Raises `WrongState`, or `CannotTake` outside their groups.
    """
    need(ticket, TicketStatus.QUEUED)
    theirs = work.directories[ticket.account].groups_of.get(agent, ())
    if not {ticket.group, *ticket.wider} & set(theirs):
        raise CannotTake(f"agent {agent} is not in the group {ticket.group}")
    if ticket.channel is Channel.CALL and ticket.live:
        offers.offer(work, ticket, agent, at, {"claimed_by": agent})
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
                what = "neither an e-mail address nor a phone number was left, or no person wrote it"
                raise CannotTake(f"nobody can be written to: {what}")
            work.want(ticket, at, _reply_wanted(ticket, contact, agent, text, message_id))
        case Channel.CALL:
            raise CannotTake("a call is answered by voice; write a note instead")
    message = Message(message_id, ticket.account, ticket.id, at, "agent", text, agent, state="pending")
    work.messages.append(message)
    first = ticket.replied_at is None
    ticket.replied_at = ticket.replied_at or at
    first_reply_s = seconds_between(ticket.opened_at, at) if first else None
    work.happen(
        ticket, happened.TicketReplied, at, agent=agent, message=message_id, first=first, first_reply_s=first_reply_s
    )
    return message


def note(work: Work, ticket: Ticket, agent: str, text: str, at: datetime) -> None:
    """Write an internal note, in any status."""
    written = _write_note(work, ticket, agent, text, at)
    work.happen(ticket, happened.TicketNoted, at, why={"note": written}, agent=agent)


def transfer_to_group(work: Work, ticket: Ticket, agent: str, group: str, reason: str, at: datetime) -> None:
    """Pass it on to another group's queue.

    Raises:
        WrongState, NotYours: only the handler of an active ticket passes it on.
        CannotTake: the group does not serve its site, source or tier.
    """
    need_handler(ticket, agent)
    if not admission.may_serve(work.directories[ticket.account], group, ticket):
        raise CannotTake(f"the group {group} does not serve the ticket's site, source or tier")
    before = ticket.group
    pause_handling(ticket, at)
    _let_go(work, ticket, agent, at)
    ticket.group = group
    why = {"reason": reason}
    work.happen(ticket, happened.TicketTransferred, at, why=why, agent=agent, from_group=before, to_group=group)
    enqueue(work, ticket, "transferred", at)


def transfer_to_agent(work: Work, ticket: Ticket, agent: str, to: str, reason: str, at: datetime) -> None:
    """Offer it to a colleague; if they do not take it, it waits in the group.

    Raises:
        WrongState, NotYours: only the handler of an active ticket passes it on.
        CannotTake: no group of the colleague serves its site, source or tier.
    """
    need_handler(ticket, agent)
    directory = work.directories[ticket.account]
    if not any(admission.may_serve(directory, group, ticket) for group in directory.groups_of.get(to, ())):
        raise CannotTake(f"no group of agent {to} serves the ticket's site, source or tier")
    pause_handling(ticket, at)
    _let_go(work, ticket, agent, at)
    work.happen(ticket, happened.TicketTransferred, at, why={"reason": reason}, agent=agent, to_agent=to)
    offers.offer(work, ticket, to, at, {"transferred_by": agent})


def reassign(work: Work, ticket: Ticket, at: datetime) -> None:
    """The client of whoever has it in hand is gone for as long as the plan allows: it goes to another agent."""
    if ticket.status is not TicketStatus.ACTIVE or ticket.reassign_at is None or ticket.reassign_at > at:
        return
    before = ticket.handler
    pause_handling(ticket, at)
    ticket.handler = None
    work.happen(ticket, happened.TicketTransferred, at, why={"reason": "unattended"}, agent=before)
    enqueue(work, ticket, "unattended", at)


def leave_unattended(work: Work, ticket: Ticket, at: datetime) -> None:
    """The client of whoever has it in hand vanished: flagged for the leader, and by the plan's setting reassigned."""
    if ticket.unattended_since is not None:
        return
    plan = work.directories[ticket.account].plans.get(ticket.site)
    after_s = plan.reassign_after_s if plan is not None else None
    ticket.unattended_since = at
    ticket.reassign_at = None if after_s is None else at + timedelta(seconds=after_s)
    work.happen(ticket, happened.TicketWarned, at, cause="unattended", agent=ticket.handler)


def attend(work: Work, ticket: Ticket) -> None:
    """Whoever has it in hand is back."""
    if ticket.unattended_since is not None:
        ticket.unattended_since = ticket.reassign_at = None
        work.tickets[ticket.id] = ticket


def _let_go(work: Work, ticket: Ticket, agent: str, at: datetime) -> None:
    """The agent passes it on, and nobody returns it to them as the one who served the contact last."""
    if ticket.holder == agent:
        free(work, ticket, agent, at)
    ticket.handler = ticket.preferred = ticket.preferred_until = None


def resolve(work: Work, ticket: Ticket, agent: str, text: str, code: str | None, at: datetime) -> None:
    """End the work; the text is kept as a note. A chat is closed, a call that still goes on is ended."""
    need_handler(ticket, agent)
    pause_handling(ticket, at)
    why: dict[str, object] = {"note": _write_note(work, ticket, agent, text, at)} if text else {}
    if code is not None:
        why["code"] = code
    if ticket.holder == agent:
        free(work, ticket, agent, at)
    ticket.status, ticket.holder, ticket.due_at = TicketStatus.RESOLVED, None, None
    ticket.unattended_since = ticket.reassign_at = None
    if ticket.live:
        plan = work.directories[ticket.account].plans.get(ticket.site)
        say_once(work, ticket, "closing", plan.texts.closing if plan is not None else None, at)
        work.instruct(ticket, outbound.ChatClose if ticket.channel is Channel.CHAT else outbound.CallHangUp, at)
    ticket.live = False
    handling_s = ticket.handled_ms / 1000
    # The directory names no codes yet, and what it does not name is `other` in public.
    public_code = None if code is None else "other"
    work.happen(ticket, happened.TicketResolved, at, why=why, agent=agent, code=public_code, handling_s=handling_s)


def abandon(work: Work, ticket: Ticket, made: Offer | None, reason: str, at: datetime) -> None:
    """Nobody answered in time: the contact left (`left`, `hang_up`) or waited too long (`max_wait`)."""
    ringing = ticket.status is TicketStatus.OFFERED
    offers.drop_offer(work, ticket, made, at)
    ticket.status, ticket.reason, ticket.holder, ticket.give_up_at = TicketStatus.ABANDONED, reason, None, None
    wait_s = seconds_between(ticket.opened_at, at)
    work.happen(ticket, happened.TicketAbandoned, at, wait_s=wait_s, ringing=ringing)
    if reason == "max_wait":
        turn_away(work, ticket, reason, at)
    ticket.live = False
    if made is not None:
        wake_groups_of(work, ticket.account, made.agent)


def turn_away(work: Work, ticket: Ticket, reason: str, at: datetime) -> None:
    """Tell a caller or visitor that nobody will come, why, and what to do instead (D-01, D-08, O-05)."""
    text = texts.turning_away(work.directories[ticket.account], ticket, reason)
    if ticket.channel is Channel.CHAT:
        work.instruct(ticket, outbound.ChatRefused, at, reason=reason, text=text)
    elif ticket.channel is Channel.CALL:
        if text:
            work.instruct(ticket, outbound.CallPlay, at, text=text)
        work.instruct(ticket, outbound.CallHangUp, at)


def say_once(work: Work, ticket: Ticket, which: texts.Said, text: str | None, at: datetime) -> None:
    """Say one of the plan's texts, if it has it and it was not said before in this interaction."""
    if text and texts.is_new(ticket, which):
        work.tickets[ticket.id] = ticket
        say(work, ticket, text, at)


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
    if not ticket.live:
        return
    if ticket.status in (TicketStatus.QUEUED, TicketStatus.OFFERED):
        if ticket.answered_at is None:
            abandon(work, ticket, made, reason, at)
            return
        offers.drop_offer(work, ticket, made, at)
        ticket.live = False
        if ticket.owner in work.directories[ticket.account].agents and ticket.owner is not None:
            take(work, ticket, ticket.owner, at, by="owner")
            pause_handling(ticket, at)
        else:
            enqueue(work, ticket, "withdrawn", at)
        if made is not None:
            wake_groups_of(work, ticket.account, made.agent)
        return
    ticket.live = False
    if ticket.status is TicketStatus.ACTIVE and ticket.holder is not None:
        pause_handling(ticket, at)
        free(work, ticket, ticket.holder, at)
        ticket.holder = None
    work.tickets[ticket.id] = ticket


def _write_note(work: Work, ticket: Ticket, agent: str, text: str, at: datetime) -> UUID:
    written = Note(work.new_id(), ticket.account, ticket.id, at, agent, text)
    work.notes.append(written)
    return written.id


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
        thread=ticket.thread or None,
        name=contact.name,
    )
