"""What one transaction decided: gathered by the rules, written by the store in bulk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kefu_common.events.agents import AGENT_MODELS, AgentData
from kefu_common.events.contacts import ContactVisited
from kefu_common.events.envelope import Event
from kefu_common.events.messages import MessageWanted
from kefu_common.events.outbound import TYPE_OF_INSTRUCTION, ChatInvite, TicketInstruction
from kefu_common.events.tickets import TYPE_OF_TICKET_EVENT, TicketData
from kefu_common.events.words import Channel
from kefu_routing.domain.invitations import Invitation, Watched
from kefu_routing.domain.model import AccountDirectory, Message, Note, Offer, Seat, Ticket, Visit

_AGENT_TYPES = {model: name for name, model in AGENT_MODELS.items()}


@dataclass(frozen=True, slots=True)
class Happened:
    """A ticket's event as published, and why it was decided so (for the history, not published)."""

    event: Event[TicketData]
    ticket: UUID
    why: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Published:
    """An event of another topic and its Kafka key."""

    event: Event[Any]
    key: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An instruction to an adapter and its Kafka key; `message` is the text of the conversation that it carries."""

    event: Event[TicketInstruction]
    key: str
    message: UUID | None


@dataclass(frozen=True, slots=True)
class Freed:
    """An agent has one ticket less in hand, and for so long after a call nothing new comes."""

    at: datetime
    after_call_s: int


@dataclass(slots=True)
class Work:
    """Everything that one transaction changes. `directories` are those of the accounts concerned."""

    directories: dict[str, AccountDirectory]
    new_id: Callable[[], UUID]
    tickets: dict[UUID, Ticket] = field(default_factory=dict)
    offers: dict[UUID, Offer] = field(default_factory=dict)
    interactions: dict[tuple[str, str], UUID] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    message_states: dict[UUID, str] = field(default_factory=dict)
    history: list[Happened] = field(default_factory=list)
    instructions: list[Asked] = field(default_factory=list)
    outcomes: dict[UUID, str] = field(default_factory=dict)
    """What became of instructions."""
    wanted: list[Published] = field(default_factory=list)
    agent_events: list[Published] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    contact_events: list[Published] = field(default_factory=list)
    watched: dict[tuple[str, str], Watched] = field(default_factory=dict)
    """Visitors who look at a page, by account and interaction."""
    chats_begun: set[tuple[str, str]] = field(default_factory=set)
    invited: list[Invitation] = field(default_factory=list)
    invites: list[Published] = field(default_factory=list)
    """The instructions of `invited`: their outcomes are about no ticket."""
    failed_invites: set[UUID] = field(default_factory=set)
    groups_to_assign: set[tuple[str, str]] = field(default_factory=set)
    addresses: dict[tuple[str, str], tuple[str | None, str | None]] = field(default_factory=dict)
    """Where whoever wrote by an interaction is answered: e-mail address and phone."""
    split_off: dict[tuple[str, str], tuple[UUID, UUID]] = field(default_factory=dict)
    """Interactions (account, id) that go from one ticket to another, with what was said by them."""
    seats: dict[tuple[str, str], Seat] = field(default_factory=dict)
    """Agents whom the transaction has locked, by account and id, as far as it has read them."""
    counted: list[Seat] = field(default_factory=list)
    """Locked agents as the strategies count them now."""
    freed: dict[tuple[str, str], Freed] = field(default_factory=dict)
    acted: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Agents who did something, so that they are there. Both by account and agent, whose seats are locked."""

    def happen(
        self,
        ticket: Ticket,
        model: type[TicketData],
        at: datetime,
        *,
        why: dict[str, Any] | None = None,
        **data: Any,
    ) -> None:
        """Record that this happened to the ticket, as it stands now: the next number of its sequence."""
        directory = self.directories[ticket.account]
        ticket.sequence += 1
        self.tickets[ticket.id] = ticket
        stamped = model(
            site=ticket.site,
            time_zone=directory.time_zone_of(ticket.site),
            channel=ticket.channel,
            source=directory.public_word(ticket.source, directory.sources),
            category=directory.public_word(ticket.category, directory.category_words),
            kind=ticket.kind,
            group=ticket.group,
            handler=ticket.handler,
            owner=ticket.owner,
            contact=ticket.contact,
            priority=ticket.priority,
            status=ticket.status,
            reason=ticket.reason,
            opened_at=ticket.opened_at,
            **data,
        )
        event = Event(
            self.new_id(),
            TYPE_OF_TICKET_EVENT[model],
            f"/sites/{ticket.site}",
            str(ticket.id),
            at,
            ticket.account,
            stamped,
            sequence=ticket.sequence,
            traceparent=ticket.traceparent,
        )
        self.history.append(Happened(event, ticket.id, why))

    def instruct(
        self,
        ticket: Ticket,
        model: type[TicketInstruction],
        at: datetime,
        expires_at: datetime | None = None,
        *,
        carries: UUID | None = None,
        **data: Any,
    ) -> None:
        """Ask the adapter of the ticket's interaction to do something; `carries` is the text that it conveys."""
        instruction = model(
            ticket=ticket.id,
            contact=ticket.contact,
            channel=ticket.channel,
            expires_at=expires_at or at + STALE_AFTER[model.__name__],
            **data,
        )
        event = Event(
            self.new_id(),
            TYPE_OF_INSTRUCTION[model],
            f"/sites/{ticket.site}",
            ticket.interaction,
            at,
            ticket.account,
            instruction,
            adapter=ticket.adapter,
            traceparent=ticket.traceparent,
        )
        said: UUID | None = carries or data.get("message")
        self.instructions.append(Asked(event, f"{ticket.account}/{ticket.interaction}", said))

    def want(self, ticket: Ticket, at: datetime, wanted: MessageWanted) -> None:
        """Ask notifications to tell someone."""
        event = Event(
            self.new_id(),
            "kefu.message.wanted",
            f"/sites/{ticket.site}",
            str(ticket.id),
            at,
            ticket.account,
            wanted,
            traceparent=ticket.traceparent,
        )
        self.wanted.append(Published(event, str(ticket.id)))

    def visit(self, visit: Visit, traceparent: str | None) -> None:
        """Record that somebody looked at a page; published when it is known who."""
        self.visits.append(visit)
        if visit.contact is None:
            return
        directory = self.directories[visit.account]
        seen = ContactVisited(
            contact=visit.contact,
            site=visit.site,
            time_zone=directory.time_zone_of(visit.site),
            source=directory.public_word(visit.source, directory.sources),
        )
        subject = str(visit.contact)
        event = Event(
            self.new_id(),
            "kefu.contact.visited",
            f"/sites/{visit.site}",
            subject,
            visit.at,
            visit.account,
            seen,
            traceparent=traceparent,
        )
        self.contact_events.append(Published(event, subject))

    def invite(self, invited: Invitation, at: datetime) -> None:
        """Ask the adapter of the visitor's interaction to invite them."""
        to = invited.to
        asked = ChatInvite(
            contact=to.contact,
            channel=Channel.CHAT,
            expires_at=invited.expires_at,
            text=invited.text,
            invitation=invited.id,
            agent=invited.agent,
        )
        event = Event(
            invited.id,
            TYPE_OF_INSTRUCTION[ChatInvite],
            f"/sites/{to.site}",
            to.interaction,
            at,
            to.account,
            asked,
            adapter=to.adapter,
            traceparent=to.traceparent,
        )
        self.invited.append(invited)
        self.invites.append(Published(event, f"{to.account}/{to.interaction}"))

    def agent_did(
        self, account: str, agent: str, model: type[AgentData], at: datetime, traceparent: str | None, **data: Any
    ) -> None:
        """Publish a change of an agent's presence."""
        event = Event(
            self.new_id(),
            _AGENT_TYPES[model],
            "/agents",
            agent,
            at,
            account,
            model(agent=agent, **data),
            traceparent=traceparent,
        )
        self.agent_events.append(Published(event, f"{account}/{agent}"))


STALE_AFTER = {
    "CallCancel": timedelta(minutes=1),
    "CallPlay": timedelta(minutes=1),
    "CallHangUp": timedelta(minutes=10),
    "ChatSay": timedelta(hours=1),
    "ChatAssigned": timedelta(hours=1),
    "ChatPosition": timedelta(minutes=1),
    "ChatRefused": timedelta(hours=1),
    "ChatClose": timedelta(hours=1),
}
"""How long an instruction makes sense where the offer does not say it."""
