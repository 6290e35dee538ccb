"""What an adapter's event does: opens or joins a ticket, or moves one on."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from kefu_common.events import interactions as said
from kefu_common.events import tickets as happened
from kefu_common.events.directory import Preference
from kefu_common.events.envelope import Event
from kefu_common.events.interactions import ContactClaim, InteractionData
from kefu_common.events.words import Channel, TicketStatus
from kefu_common.mail_tags import interaction_of_ticket
from kefu_routing.domain import admission, offers, texts, ticket, turns
from kefu_routing.domain.holding import enqueue, free, pause_handling, take
from kefu_routing.domain.identity import ContactBook, claim_of, same_email, same_phone
from kefu_routing.domain.invitations import Watched, due_at
from kefu_routing.domain.model import (
    LIVE_CHANNELS,
    AccountDirectory,
    Contact,
    Instructed,
    Offer,
    OfferStatus,
    Ticket,
    Visit,
)
from kefu_routing.domain.outcomes import take_outcome
from kefu_routing.domain.received import may_be_answered, receive, receive_mail, tell_administrators
from kefu_routing.domain.refusals import NotApplicable
from kefu_routing.domain.work import Work

STARTS: dict[type[InteractionData], Channel] = {
    said.CallStarted: Channel.CALL,
    said.ChatStarted: Channel.CHAT,
    said.EmailReceived: Channel.EMAIL,
    said.MessageLeft: Channel.MESSAGE,
}
"""What opens an interaction, and its channel."""

Interaction = tuple[str, str]
"""Account and the adapter's id."""


@dataclass(slots=True)
class Known:
    """What the batch concerns, loaded and locked, and kept current while the batch is decided."""

    contacts: ContactBook
    tickets: dict[UUID, Ticket] = field(default_factory=dict)
    offers: dict[UUID, Offer] = field(default_factory=dict)
    by_interaction: dict[Interaction, UUID] = field(default_factory=dict)
    joinable: dict[tuple[str, UUID, str, Channel], UUID] = field(default_factory=dict)
    """The newest open ticket by account, contact, site and channel, for channels that join."""
    instructed: dict[UUID, Instructed] = field(default_factory=dict)
    """The instructions that outcomes name, as far as they are known."""
    open_of_contact: dict[UUID, list[UUID]] = field(default_factory=dict)
    last_agents: dict[UUID, str] = field(default_factory=dict)
    """Who served a contact last, where a plan asks for it."""
    gone: set[tuple[str, str]] = field(default_factory=set)
    """Agents (account, id) who are away only because nothing was heard of them."""
    invitations: dict[UUID, Interaction] = field(default_factory=dict)
    """The invitations that outcomes name, as far as they are known."""
    invited_by: dict[Interaction, str] = field(default_factory=dict)
    """Which agent invited the visitor by hand who starts a chat now."""


def starts(event: Event[InteractionData]) -> bool:
    """Whether the event opens its interaction."""
    return type(event.data) in STARTS


def concerns_a_contact(event: Event[InteractionData]) -> bool:
    """Whether the event may make a contact, or say something new of one."""
    return starts(event) or isinstance(event.data, said.VisitSeen)


def decide(work: Work, known: Known, event: Event[InteractionData], partition: int, now: datetime) -> None:
    """Apply one event.

    Raises:
        NotApplicable: `unknown_site`, `no_start`, `other_site`, `other_channel`, `started_twice`, `unknown_agent`,
            `answered_elsewhere` or `unknown_instruction`.
    """
    if isinstance(event.data, said.InstructionOutcome) and _is_of_invitation(work, known, event, event.data):
        return
    found = known.by_interaction.get((event.account, event.subject))
    if found is not None:
        _need_same(known.tickets[found], event)
    if isinstance(event.data, said.VisitSeen):
        _visit(work, known, event, event.data, now)
        return
    channel = STARTS.get(type(event.data))
    if channel is not None:
        if event.site not in work.directories[event.account].sites:
            raise NotApplicable("unknown_site")
        _start(work, known, event, channel, partition, now)
    elif found is None:
        raise NotApplicable("no_start")
    else:
        _go_on(work, known, known.tickets[found], event, now)


def _need_same(going: Ticket, event: Event[InteractionData]) -> None:
    """An interaction stays on its site and channel: a key for one site moves nothing on another."""
    if event.site != going.site:
        raise NotApplicable("other_site")
    family = event.type.split(".")[1]
    if family in _FAMILIES and family != going.channel and not _is_answer_to_ours(event, going):
        raise NotApplicable("other_channel")


_FAMILIES = frozenset(Channel)
"""Types of events that belong to one channel begin with its name; ratings and outcomes belong to any."""


def _is_answer_to_ours(event: Event[InteractionData], going: Ticket) -> bool:
    """Whether it is an e-mail with the ticket's tag: who left a message is answered by e-mail, and may write back."""
    return isinstance(event.data, said.EmailReceived) and event.subject == interaction_of_ticket(going.id)


def _is_of_invitation(
    work: Work, known: Known, event: Event[InteractionData], outcome: said.InstructionOutcome
) -> bool:
    """Whether the outcome is about an invitation, which has no ticket. One that failed may be said again."""
    invitation = next((id for id in known.invitations if str(id) == outcome.instruction.lower()), None)
    if invitation is None or known.invitations[invitation] != (event.account, event.subject):
        return False
    if isinstance(outcome, said.InstructionFailed):
        work.failed_invites.add(invitation)
    return True


def _visit(work: Work, known: Known, event: Event[InteractionData], seen: said.VisitSeen, now: datetime) -> None:
    if event.site not in work.directories[event.account].sites:
        raise NotApplicable("unknown_site")
    is_known = seen.contact is not None or (event.account, event.subject) in known.by_interaction
    contact = _who(known, event, now) if is_known else None
    visit = Visit(
        work.new_id(),
        event.account,
        event.site,
        None if contact is None else contact.id,
        event.time,
        event.subject,
        seen.source,
        seen.page,
        seen.referrer,
        event.adapter,
    )
    work.visit(visit, event.traceparent)
    if (event.account, event.subject) not in known.by_interaction:
        _watch(work, visit, event.traceparent, now)


def _watch(work: Work, visit: Visit, traceparent: str | None, now: datetime) -> None:
    """From now on the rules of the site's plan may invite the visitor; a later page starts the clock anew (H-11)."""
    plan = work.directories[visit.account].plans.get(visit.site)
    if plan is None or not plan.invitations:
        return
    seen_at = min(visit.at, now)
    work.watched[visit.account, visit.interaction] = Watched(
        visit.account,
        visit.interaction,
        visit.site,
        visit.adapter,
        traceparent,
        visit.contact,
        visit.page,
        seen_at,
        due_at(plan.invitations, visit.page, seen_at, None),
    )


def _start(
    work: Work, known: Known, event: Event[InteractionData], channel: Channel, partition: int, now: datetime
) -> None:
    place = (event.account, event.subject)
    if channel in LIVE_CHANNELS and place in known.by_interaction:
        raise NotApplicable("started_twice")
    if isinstance(event.data, said.EmailReceived) and event.data.auto and place in known.by_interaction:
        # What no person wrote is kept with the thread, and opens nothing and redirects nothing.
        receive_mail(work, known.tickets[known.by_interaction[place]], event, event.data)
        return
    contact = _who(known, event, now)
    if channel is Channel.CHAT:
        work.chats_begun.add(place)
    joined = _to_join(work, known, event, contact, channel)
    if joined is None:
        joined = _open(work, known, event, channel, contact, partition, now)
    known.by_interaction[place] = work.interactions[place] = joined.id
    if channel not in LIVE_CHANNELS and may_be_answered(event.data):
        work.addresses[place] = _address(event.data.contact, contact)
        if _is_vouched_for(event.data.contact) or not (joined.reply_email or joined.reply_phone):
            joined.reply_email, joined.reply_phone = work.addresses[place]
    joined.traceparent = event.traceparent or joined.traceparent
    match event.data:
        case said.EmailReceived() as mail:
            receive_mail(work, joined, event, mail)
        case said.MessageLeft() as left:
            receive(work, joined, event, left.text, [])
            tell_administrators(work, joined, contact, left, event.time)
    if joined.status is TicketStatus.QUEUED and joined.group is not None:
        work.groups_to_assign.add((joined.account, joined.group))


def _who(known: Known, event: Event[InteractionData], now: datetime) -> Contact:
    """The contact that the event names; one that names nobody goes on with the interaction's own."""
    found = known.by_interaction.get((event.account, event.subject))
    claim = claim_of(event.data)
    if claim is None and found is not None:
        return known.contacts.contacts[known.tickets[found].contact]
    return known.contacts.find_or_make(event.account, claim, now)


def _address(claim: ContactClaim | None, contact: Contact) -> tuple[str | None, str | None]:
    """Whoever wrote is answered where they wrote from, not where the contact was last heard of."""
    named = claim if claim is not None and (claim.email or claim.phone) else contact
    return named.email, named.phone


def _is_vouched_for(claim: ContactClaim | None) -> bool:
    """Whether the adapter knows who it is; an address alone may have been typed by a stranger."""
    return claim is not None and claim.external_id is not None


def _to_join(
    work: Work, known: Known, event: Event[InteractionData], contact: Contact, channel: Channel
) -> Ticket | None:
    """A new call or chat opens a ticket of its own; an e-mail or message joins the contact's newest open one.

    What goes on in the same interaction joins in any case; whether another one does is for the site's plan to say.
    """
    if channel in LIVE_CHANNELS:
        return None
    same = known.by_interaction.get((event.account, event.subject))
    if same is not None and known.tickets[same].is_open:
        return known.tickets[same]
    plan = work.directories[event.account].plans.get(event.site)
    if plan is not None and channel not in plan.joins:
        return None
    newest = known.joinable.get((event.account, contact.id, event.site, channel))
    if newest is None or not known.tickets[newest].is_open:
        return None
    return known.tickets[newest] if _is_the_same_writer(known.tickets[newest], event.data.contact) else None


def _is_the_same_writer(open_one: Ticket, claim: ContactClaim | None) -> bool:
    """Nobody joins a ticket whose replies go elsewhere: one of both may be a stranger who typed the other's number."""
    if claim is None or _is_vouched_for(claim) or not (claim.email or claim.phone):
        return True
    is_same_email = same_email(claim.email) == same_email(open_one.reply_email)
    if open_one.channel is Channel.EMAIL:
        return is_same_email
    return is_same_email and same_phone(claim.phone) == same_phone(open_one.reply_phone)


def _open(
    work: Work,
    known: Known,
    event: Event[InteractionData],
    channel: Channel,
    contact: Contact,
    partition: int,
    now: datetime,
) -> Ticket:
    directory = work.directories[event.account]
    data = event.data
    tier = contact.tier
    admitted = admission.admit(directory, event.site, channel, data.source, data.category, tier, now)
    ready_at, came_at = turns.waits_from(directory, event.site, channel, event.time, now)
    opened = Ticket(
        work.new_id(),
        event.account,
        event.site,
        channel,
        contact.id,
        event.subject,
        opened_at=event.time,
        ready_at=ready_at,
        came_at=came_at,
        partition=partition,
        source=data.source,
        category=data.category,
        tier=tier,
        priority=admission.priority_of(directory, event.site, tier),
        kind=admission.kind_of(directory, data.category),
        group=admitted.group,
        adapter=event.adapter,
        live=channel in LIVE_CHANNELS and admitted.refused is None,
        traceparent=event.traceparent,
        subject=data.subject if isinstance(data, said.EmailReceived) else None,
    )
    if admitted.refused:
        opened.status, opened.reason = TicketStatus.REFUSED, admitted.refused
    known.tickets[opened.id] = opened
    known.joinable[(opened.account, contact.id, opened.site, channel)] = opened.id
    linked = known.open_of_contact.get(contact.id, [])
    invited_by = known.invited_by.get((event.account, event.subject)) if channel is Channel.CHAT else None
    why = {"invited_by": invited_by} if invited_by else None
    still_open = [t for t in linked if known_open(known, t)]
    work.happen(opened, happened.TicketOpened, event.time, why=why, linked=still_open)
    known.open_of_contact[contact.id] = [*linked, opened.id]
    if admitted.refused:
        work.happen(opened, happened.TicketRefused, event.time)
        ticket.turn_away(work, opened, admitted.refused, now)
    else:
        _welcome(work, opened, directory, now)
        _prefer(opened, directory, known.last_agents.get(opened.contact), invited_by)
        enqueue(work, opened, "new", event.time)
    return opened


def _prefer(opened: Ticket, directory: AccountDirectory, last: str | None, invited_by: str | None) -> None:
    """Who was invited goes to the agent who did it (H-11); who returns, to the one who served them last (H-07)."""
    plan = directory.plans.get(opened.site)
    begins = max(opened.opened_at, opened.ready_at)
    preference = plan.prefer_last_agent if plan is not None else None
    if invited_by is not None:
        wait_s = (preference or Preference()).wait_s
        turns.prefer(opened, invited_by, begins + timedelta(seconds=wait_s))
    elif preference is not None and last is not None:
        turns.prefer(opened, last, begins + timedelta(seconds=preference.wait_s))


def known_open(known: Known, other: UUID) -> bool:
    """Whether the ticket is open, as far as this batch knows."""
    return other not in known.tickets or known.tickets[other].is_open


def _welcome(work: Work, opened: Ticket, directory: AccountDirectory, now: datetime) -> None:
    plan = directory.plans.get(opened.site)
    if plan is None or opened.channel not in LIVE_CHANNELS:
        return
    if plan.max_wait_s is not None:
        opened.give_up_at = opened.opened_at + timedelta(seconds=plan.max_wait_s)
    greetings = texts.greetings(directory, opened, now)
    if opened.channel is Channel.CALL and greetings:
        # A switch that is told to say a text right behind another may cut off the first.
        greetings = [" ".join(greetings)]
    for text in greetings:
        ticket.say(work, opened, text, now)


def _go_on(work: Work, known: Known, going: Ticket, event: Event[InteractionData], now: datetime) -> None:
    made = known.offers.get(going.offer) if going.offer else None
    match event.data:
        case said.CallAnswered() as answered:
            if (going.account, answered.agent) in known.gone:
                work.acted[going.account, answered.agent] = event.time
            _answered(work, going, made, answered.agent, event.time)
        case said.CallEnded():
            ticket.contact_left(work, going, made, "hang_up", event.time)
        case said.ChatEnded():
            ticket.contact_left(work, going, made, "left", event.time)
        case said.ChatMessage() as message:
            receive(work, going, event, message.text, message.attachments)
        case said.RatingGiven() as rating:
            agent = going.handler or going.owner
            work.happen(going, happened.TicketRated, event.time, agent=agent, score=rating.score)
        case said.CallTransferred() as moved:
            _moved(work, going, made, moved.to, event.time)
        case said.InstructionOutcome() as outcome:
            take_outcome(work, known.instructed, going, made, outcome, event.time, now)
        case _:
            # Holding and resuming change neither who has the call nor what anybody is promised.
            work.tickets[going.id] = going


def _answered(work: Work, going: Ticket, made: Offer | None, agent: str, at: datetime) -> None:
    """In time it is the agent's accept; otherwise the agent becomes the handler if there is none."""
    if agent not in work.directories[going.account].agents:
        raise NotApplicable("unknown_agent")
    if going.handler == agent and going.status is TicketStatus.ACTIVE:
        return
    if not going.is_open or going.handler is not None:
        raise NotApplicable("answered_elsewhere")
    if made is not None and made.agent == agent and made.status is OfferStatus.OPEN and at <= made.expires_at:
        made.status = OfferStatus.ACCEPTED
        work.offers[made.id] = made
        take(work, going, agent, at, by="answered", offer_id=made.id)
        return
    offers.drop_offer(work, going, made, at, answered_by=agent)
    take(work, going, agent, at, by="answered")


def _moved(work: Work, going: Ticket, made: Offer | None, to: str, at: datetime) -> None:
    """The switch moved the call itself: whoever has that id or phone is the handler now."""
    agent = work.directories[going.account].agent_called(to)
    if agent is None or not going.is_open:
        raise NotApplicable("unknown_agent")
    offers.drop_offer(work, going, made, at, answered_by=agent)
    before = going.handler
    pause_handling(going, at)
    if going.holder is not None and going.holder == before != agent:
        free(work, going, before, at)
    going.handler = None
    work.happen(going, happened.TicketTransferred, at, agent=before, to_agent=agent)
    take(work, going, agent, at, by="answered")
