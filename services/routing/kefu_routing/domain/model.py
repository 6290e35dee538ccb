"""The plain data that routing decides about."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from kefu_common.events.directory import (
    Account,
    Agent,
    Calendar,
    Category,
    Department,
    Group,
    MailAddress,
    Plan,
    Role,
    Site,
)
from kefu_common.events.words import Auto, Channel, PresenceState, TicketKind, TicketStatus

ENDED = frozenset(
    {
        TicketStatus.RESOLVED,
        TicketStatus.ARCHIVED,
        TicketStatus.ABANDONED,
        TicketStatus.REFUSED,
        TicketStatus.MERGED,
    }
)
LIVE_CHANNELS = frozenset({Channel.CALL, Channel.CHAT})
"""Channels on which somebody is there now and cannot wait for tomorrow."""

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Ticket:
    """工单. Field by field the row of `tickets`; see the comments there."""

    id: UUID
    account: str
    site: str
    channel: Channel
    contact: UUID
    interaction: str
    opened_at: datetime
    ready_at: datetime
    partition: int
    kind: TicketKind = TicketKind.CONSULTATION
    status: TicketStatus = TicketStatus.QUEUED
    reason: str | None = None
    source: str | None = None
    category: str | None = None
    tier: str | None = None
    group: str | None = None
    handler: str | None = None
    owner: str | None = None
    adapter: str | None = None
    priority: int = 0
    tags: list[str] = field(default_factory=list)
    sequence: int = 0
    due_at: datetime | None = None
    give_up_at: datetime | None = None
    offer: UUID | None = None
    fence: int = 0
    holder: str | None = None
    live: bool = False
    answered_at: datetime | None = None
    replied_at: datetime | None = None
    handling_since: datetime | None = None
    handled_ms: int = 0
    passed: dict[str, str] = field(default_factory=dict)
    came_at: datetime = _NEVER
    """Since when it waits, as if its site had never been closed."""
    turn_at: datetime = _NEVER
    queued_at: datetime = _NEVER
    step: int = 0
    step_at: datetime | None = None
    wider: list[str] = field(default_factory=list)
    preferred: str | None = None
    preferred_until: datetime | None = None
    unattended_since: datetime | None = None
    reassign_at: datetime | None = None
    traceparent: str | None = None
    subject: str | None = None
    reply_email: str | None = None
    reply_phone: str | None = None
    thread: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Which of the plan's texts the contact has been told."""

    @property
    def is_open(self) -> bool:
        """Whether work on it may still come."""
        return self.status not in ENDED

    @property
    def takes_capacity(self) -> bool:
        """Whether it fills an agent's hands: a call or chat that is over leaves them free, though work remains."""
        return self.live or self.channel not in LIVE_CHANNELS


class OfferStatus(StrEnum):
    """How an offer stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"


@dataclass(slots=True)
class Offer:
    """A ticket reserved for one agent until accepted, declined or lapsed."""

    id: UUID
    account: str
    ticket: UUID
    agent: str
    channel: Channel
    partition: int
    fence: int
    status: OfferStatus
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance of a conversation. `origin` is contact, agent or system."""

    id: UUID
    account: str
    ticket: UUID
    at: datetime
    origin: str
    text: str
    agent: str | None = None
    subject: str | None = None
    html: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    state: str | None = None
    auto: Auto | None = None
    interaction: str | None = None
    """By which it came, of a contact's."""


@dataclass(frozen=True, slots=True)
class Instructed:
    """What an adapter was asked to do, as far as its outcome matters: the text that it says, the offer it rings for."""

    id: UUID
    ticket: UUID
    message: Message | None
    offer: UUID | None


@dataclass(frozen=True, slots=True)
class Note:
    """An internal note."""

    id: UUID
    account: str
    ticket: UUID
    at: datetime
    agent: str
    text: str


@dataclass(slots=True)
class Contact:
    """The customer or visitor."""

    id: UUID
    account: str
    created_at: datetime
    external_id: str | None = None
    name: str | None = None
    phone: str | None = None
    email: str | None = None
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A page that a contact looked at; without a contact when nobody says who it was."""

    id: UUID
    account: str
    site: str
    contact: UUID | None
    at: datetime
    interaction: str
    source: str | None
    page: str | None
    referrer: str | None
    adapter: str | None = None


@dataclass(slots=True)
class Seat:
    """An agent's presence and what strategies count. `state` is None while signed out."""

    account: str
    agent: str
    state: PresenceState | None = None
    reason: str | None = None
    offers_day: date | None = None
    offers_today: int = 0
    last_offer_at: datetime = _NEVER
    next_state: PresenceState | None = None
    """What the agent does when what is in hand has ended."""
    next_reason: str | None = None
    until: datetime | None = None
    """When the state ends by itself."""
    freed_at: datetime = _NEVER


@dataclass(frozen=True, slots=True)
class AccountDirectory:
    """An account's directory at one version."""

    account: Account
    version: int
    sites: dict[str, Site]
    plans: dict[str, Plan]
    """By site."""
    groups: dict[str, Group]
    agents: dict[str, Agent]
    calendars: dict[str, Calendar]
    addresses: dict[str, MailAddress]
    sources: frozenset[str]
    """Sources that some group names."""
    category_words: frozenset[str]
    """Categories that some group names, or that are defined."""
    roles: dict[str, Role] = field(default_factory=dict)
    departments: dict[str, Department] = field(default_factory=dict)
    categories: dict[str, Category] = field(default_factory=dict)
    groups_of: dict[str, list[str]] = field(init=False, repr=False)
    """By agent."""
    members: dict[str, list[tuple[str, str]]] = field(init=False, repr=False)
    """By group: those of its agents that there are, each by account and id."""
    by_login: dict[str, str] = field(init=False, repr=False)
    by_phone: dict[str, str] = field(init=False, repr=False)
    """Which agent has it."""

    def __post_init__(self) -> None:
        groups_of: dict[str, list[str]] = {}
        for group in self.groups.values():
            for agent in group.agents:
                groups_of.setdefault(agent, []).append(group.id)
        object.__setattr__(self, "groups_of", groups_of)
        account = self.account.id
        members = {g.id: [(account, agent) for agent in g.agents if agent in self.agents] for g in self.groups.values()}
        object.__setattr__(self, "members", members)
        agents = [a for a in self.agents.values() if isinstance(a, Agent)]
        object.__setattr__(self, "by_login", {a.login: a.id for a in reversed(agents) if a.login})
        object.__setattr__(self, "by_phone", {a.phone: a.id for a in reversed(agents) if a.phone})

    def agent_called(self, name: str) -> str | None:
        """The agent with this id or phone."""
        if name in self.agents:
            return name
        return self.by_phone.get(name)

    def time_zone_of(self, site: str) -> str:
        """The site's time zone; of one that was deleted, the account's."""
        known = self.sites.get(site)
        return known.time_zone if known else self.account.time_zone

    def public_word(self, word: str | None, known: frozenset[str]) -> str | None:
        """The word if the directory names it, else `other`: free text never leaves the private topics."""
        return word if word is None or word in known else "other"
