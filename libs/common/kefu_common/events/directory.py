"""Events of `kefu.directory.v1`: the current state of each directory object. Private and compacted.

The key is `account/kind/id`; a lower `version` than the one already seen is ignored.
"""

from datetime import date, datetime, time
from importlib.resources import files
from itertools import pairwise
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Channel, TicketKind
from kefu_common.given import NO_NUL, Given

Kind = Literal[
    "account",
    "site",
    "plan",
    "group",
    "agent",
    "role",
    "department",
    "calendar",
    "category",
    "address",
    "key",
    "secret",
]

_ZONES = available_timezones()
_REGIONS = frozenset(
    line.partition("\t")[0]
    for line in files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def _known_zone(value: str) -> str:
    if value not in _ZONES:
        raise ValueError("expected an IANA time zone such as Asia/Shanghai")
    return value


def _known_region(value: str) -> str:
    if value not in _REGIONS:
        raise ValueError("expected a country by two letters (ISO 3166) such as CN")
    return value


def _a_leader(value: object) -> object:
    if not value:
        raise ValueError("a group needs a leader: name one of its agents")
    return value


ObjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""1–64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Region = Annotated[str, AfterValidator(_known_region)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]
Phone = Annotated[str, StringConstraints(max_length=40, pattern=NO_NUL)]
EmailAddress = Annotated[str, StringConstraints(max_length=254, pattern=NO_NUL)]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^(https?://|/)[^\s\x00]+$")]
"""Absolute, or from the root of the page's own server."""
Level = Annotated[int, Field(ge=1, le=10)]
Strategy = Literal["round_robin", "least_loaded", "longest_idle", "skill_first"]
"""How a ticket's agent is chosen among those who may take it; see `kefu_routing.domain.strategies`."""
BuiltInRole = Literal["agent", "leader", "administrator"]
"""Roles that every account has without defining them."""


class DirectoryObject(Given):
    """Base of what the directory holds."""

    model_config = ConfigDict(frozen=True)

    id: ObjectId


class Account(DirectoryObject):
    """A company that uses Kefu."""

    short_name: Name
    """The company's short name: the signature of SMS and replies."""
    licensed_seats: int = Field(default=3, ge=0, le=100_000)
    """How many agents may be signed in at the same time (H-01: 3 are free)."""
    time_zone: TimeZone = "Asia/Shanghai"


class Site(DirectoryObject):
    """One web site or hotline of an account."""

    name: Name
    time_zone: TimeZone = "Asia/Shanghai"
    region: Region = "CN"
    """The country whose numbers are written here without a country code."""
    calendar: ObjectId | None = None
    """Working hours; none means always open."""


class Texts(Given):
    """What contacts are told without an agent; an absent one is not said, unless it says otherwise here."""

    model_config = ConfigDict(frozen=True)

    welcome: Text | None = None
    waiting: Text | None = None
    """To who has to wait; `{position}` and `{minutes}` stand for the place in the queue and the estimated wait.

    Unset: a caller hears them in Kefu's own words, a visitor sees them.
    """
    closing: Text | None = None
    offline: Text | None = None
    """When nobody is there, or the longest wait is over; asks for contact details (O-05). Unset: who has waited so long
    is asked so in Kefu's own words."""
    after_hours: Text | None = None
    """When the site is closed (D-01); unset: the offline text."""
    festivals: dict[Name, Text] = Field(default_factory=dict, max_length=50)
    """Greetings by the names that the site's calendar gives its holidays, such as 春节 (B-15)."""


class Icons(Given):
    """What a web page shows at the bottom right (O-01)."""

    model_config = ConfigDict(frozen=True)

    online: Url | None = None
    offline: Url | None = None


class Overflow(Given):
    """What changes for a ticket that has waited for `after_s` seconds in its group's queue."""

    model_config = ConfigDict(frozen=True)

    after_s: int = Field(ge=1, le=604_800)
    relax_skills: bool = False
    """From now on agents without the category's skills may take it."""
    raise_priority: int = Field(default=0, ge=0, le=9)
    widen_to: list[ObjectId] = Field(default_factory=list, max_length=20)
    """Groups whose agents may take it too, wherever they tick its source and tier."""


class Preference(Given):
    """熟客识别: a contact who returns goes to the agent who served them last (H-07)."""

    model_config = ConfigDict(frozen=True)

    wait_s: int = Field(default=30, ge=0, le=86_400)
    """How long the contact waits for that agent while they are busy; for one who is not there, not at all."""


class Priorities(Given):
    """Who comes first. A point of priority is worth `age_s` seconds of waiting, so nobody starves."""

    model_config = ConfigDict(frozen=True)

    tiers: dict[Word, Annotated[int, Field(ge=0, le=9)]] = Field(default_factory=dict, max_length=200)
    """The priority of a contact of this tier; unset: 0."""
    age_s: int = Field(default=600, ge=1, le=604_800)
    due_lead_s: int = Field(default=3600, ge=0, le=604_800)
    """So long before a promise is due its ticket stands in the queue like one that has just come."""


class InvitationRule(Given):
    """When a visitor is invited to chat (H-11): every condition that is given must hold."""

    model_config = ConfigDict(frozen=True)

    id: ObjectId
    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=NO_NUL)]
    page: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NO_NUL)] | None = None
    """The page's name as the widget sends it; `*` stands for any characters."""
    after_s: int = Field(default=0, ge=0, le=3600)
    """Seconds on the page."""
    returning: bool | None = None
    """Whether the contact must have been here before, or must be new; unset: either."""


class Plan(DirectoryObject):
    """客服方案: how one site receives. What names no category of a group goes to the first group."""

    site: ObjectId
    groups: list[ObjectId] = Field(min_length=1, max_length=100)
    strategy: Strategy = "round_robin"
    texts: Texts = Texts()
    icons: Icons = Icons()
    max_wait_s: int | None = Field(default=None, ge=1, le=86_400)
    """A call or chat that waits longer is abandoned with the offline text."""
    offer_s: dict[Literal["call", "chat", "email", "message"], Annotated[int, Field(ge=1, le=86_400)]] = Field(
        default_factory=dict
    )
    """Seconds until an offer lapses, per channel; unset: calls 15 (three rings, K-01), chats 30, others 300."""
    overflow: list[Overflow] = Field(default_factory=list, max_length=20)
    """Steps by waiting time, the earliest first."""
    prefer_last_agent: Preference | None = None
    priorities: Priorities = Priorities()
    after_call_s: int = Field(default=0, ge=0, le=3600)
    """After-call work: how long an agent gets nothing new when a call has ended."""
    reassign_after_s: int | None = Field(default=None, ge=0, le=86_400)
    """When the work of an agent whose client vanished goes to another; unset: it stays, flagged for the leader."""
    joins: list[Channel] = Field(default_factory=lambda: [Channel.EMAIL, Channel.MESSAGE])
    """Channels on which what a contact sends joins their newest open ticket of the same site and channel."""
    invitations: list[InvitationRule] = Field(default_factory=list, max_length=50)

    @field_validator("joins")
    @classmethod
    def _only_written(cls, joins: list[Channel]) -> list[Channel]:
        if {Channel.CALL, Channel.CHAT} & set(joins):
            raise ValueError("expected email or message: a call or chat always opens a ticket of its own")
        return joins

    @field_validator("overflow")
    @classmethod
    def _in_order(cls, steps: list[Overflow]) -> list[Overflow]:
        if any(later.after_s <= earlier.after_s for earlier, later in pairwise(steps)):
            raise ValueError("expected each step's after_s to be greater than the one before")
        return steps


class Group(DirectoryObject):
    """Agents who receive the same tickets. A leader is required (D-06)."""

    model_config = ConfigDict(json_schema_extra={"required": ["id", "name", "leader", "agents"]})

    name: Name
    agents: list[ObjectId] = Field(min_length=1, max_length=1000)
    leader: Annotated[ObjectId, BeforeValidator(_a_leader)] = Field(default="", validate_default=True)
    categories: list[Word] = Field(default_factory=list, max_length=200)
    sources: list[Word] = Field(default_factory=list, max_length=200)
    """Sources served (D-08), or `*` for all; none ticked receives nothing."""
    tiers: list[Word] = Field(default_factory=list, max_length=200)
    """Tiers served (D-07), or `*` for all; none ticked receives nothing."""

    @field_validator("leader")
    @classmethod
    def _leader_is_a_member(cls, leader: str, info: ValidationInfo) -> str:
        if leader not in info.data.get("agents", [leader]):
            raise ValueError("expected one of the group's agents")
        return leader


class Capacity(Given):
    """负载: how many of each an agent holds at the same time; `email` covers offline messages too.

    Calls are exclusive: who has one gets nothing else until it has ended.
    """

    model_config = ConfigDict(frozen=True)

    call: int = Field(default=1, ge=0, le=10_000)
    chat: int = Field(default=3, ge=0, le=10_000)
    email: int = Field(default=5, ge=0, le=10_000)


class Load(Given):
    """A common limit beside those of each channel: what chats and e-mails weigh together."""

    model_config = ConfigDict(frozen=True)

    most: int = Field(ge=0, le=1_000_000)
    chat: int = Field(default=1, ge=1, le=1000)
    email: int = Field(default=1, ge=1, le=1000)
    """What one weighs; an offline message weighs as much as an e-mail."""


class Agent(DirectoryObject):
    """坐席. `phone` is where calls ring; an administrator's is where SMS go."""

    name: Name
    login: Name | None = None
    phone: Phone | None = None
    email: EmailAddress | None = None
    roles: list[ObjectId] = Field(default_factory=lambda: ["agent"], max_length=50)
    skills: dict[Word, Level] = Field(default_factory=dict, max_length=200)
    capacity: Capacity = Capacity()
    load: Load | None = None


class Role(DirectoryObject):
    """What people may do (D-05). One called agent, leader or administrator stands for the built-in one."""

    name: Name
    permissions: list[Word] = Field(default_factory=list, max_length=100)
    """Words of `kefu_common.permissions`."""


class Department(DirectoryObject):
    """A part of the company that tickets are forwarded to (B-08)."""

    name: Name
    head: ObjectId | None = None
    agents: list[ObjectId] = Field(default_factory=list, max_length=1000)


class Category(DirectoryObject):
    """咨询分类: what a contact wants to talk about (D-03)."""

    name: Name
    parent: ObjectId | None = None
    kind: TicketKind = TicketKind.CONSULTATION
    """The kind of the tickets that name it."""
    stage: Literal["pre_sale", "in_sale", "after_sale"] | None = None
    """Where in a sale it belongs (B-09)."""
    skills: dict[Word, Level] = Field(default_factory=dict, max_length=20)
    """What an agent must know, and at least how well, to be offered its tickets."""


class Hours(Given):
    """From `start` until `end` of a day; `end` 00:00 is midnight."""

    model_config = ConfigDict(frozen=True)

    start: time
    end: time

    @model_validator(mode="after")
    def _ordered(self) -> "Hours":
        if self.end != time(0) and self.end <= self.start:
            raise ValueError("end: expected a time after start, or 00:00 for midnight")
        return self


Weekdays = Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1)]
"""ISO weekdays, 1 Monday to 7 Sunday."""


class Window(Hours):
    """Hours on some weekdays."""

    days: Weekdays


class Shift(Hours):
    """A named daily shift; one that ends before it starts ends on the next day."""

    name: Name
    days: Weekdays = Field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])

    @model_validator(mode="after")
    def _ordered(self) -> "Shift":
        return self


class NamedDay(Given):
    """A date, and what is special about it."""

    model_config = ConfigDict(frozen=True)

    date: date
    name: Name


class MakeUpDay(NamedDay):
    """A day on which one works though its weekday, or a holiday, says otherwise (调休)."""

    as_day: Annotated[int, Field(ge=1, le=7)] = 1
    """The weekday whose hours it has."""


class Calendar(DirectoryObject):
    """Opening hours in the site's time zone; no window means never open.

    A day's hours are those of its weekday, unless it is a make-up day, a public holiday or a closed date. A closed date
    is closed whatever else it is; a make-up day is open though a holiday falls on it.
    """

    name: Name
    weekly: list[Window] = Field(default_factory=list, max_length=100)
    breaks: list[Window] = Field(default_factory=list, max_length=100)
    """Cut out of the hours."""
    shifts: list[Shift] = Field(default_factory=list, max_length=50)
    country: Region | None = None
    """Whose public holidays a new calendar begins with; those of later years are added by `POST …/holidays`."""
    holidays: list[NamedDay] = Field(default_factory=list, max_length=2000)
    open_on_holidays: bool = False
    """Whether the weekly hours hold on public holidays too; the greetings of plans go by their names all the same."""
    make_up_days: list[MakeUpDay] = Field(default_factory=list, max_length=1000)
    closed: list[NamedDay] = Field(default_factory=list, max_length=1000)


class MailAddress(DirectoryObject):
    """Where mail for a site comes in. No address belongs to two sites, of whatever account."""

    address: Annotated[
        str, StringConstraints(max_length=254, pattern=r"^[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+$")
    ]
    """Without a `+…` part: mail to `service+anything@…` comes here too."""
    site: ObjectId

    @field_validator("address")
    @classmethod
    def _plain(cls, address: str) -> str:
        if "+" in address.partition("@")[0]:
            raise ValueError("expected an address without +")
        return address.lower()


class FormerSecret(Given):
    """What a key was before it was rotated: in force until then, so that adapters can change over without a gap."""

    model_config = ConfigDict(frozen=True)

    hash: str | None = None
    sealed: str | None = None
    until: AwareDatetime


class ApiKey(DirectoryObject):
    """What the directory knows of an API key: never the key, only its SHA-256 in hex.

    A key that signs requests has no hash but its secret, sealed: whoever checks a signature must know it.
    """

    adapter: ObjectId | None = None
    scopes: list[str]
    sites: list[ObjectId] | None = None
    """Sites it may act for; none means all."""
    expires_at: AwareDatetime | None = None
    rate_per_s: int | None = Field(default=None, ge=1, le=1_000_000)
    """Events that it may post each second; none means as many as intake takes."""
    signed: bool = False
    """Whether it signs its requests instead of sending a secret with each."""
    hash: str | None = None
    sealed: str | None = None
    former: FormerSecret | None = None

    @property
    def hashes(self) -> list[str]:
        """Of the secret that is in force and of the former one; `is_in_force` says of the latter until when."""
        found = (self.hash, self.former.hash if self.former else None)
        return [hash for hash in found if hash is not None]

    def is_in_force(self, hash: str, now: datetime) -> bool:
        """Whether the secret with this hash, one of `hashes`, opens anything now."""
        is_over = self.expires_at is not None and self.expires_at <= now
        return not is_over and (hash == self.hash or (self.former is not None and now < self.former.until))


class Secret(DirectoryObject):
    """A secret that services share, sealed."""

    sealed: str


DIRECTORY_MODELS: dict[Kind, type[DirectoryObject]] = {
    "account": Account,
    "site": Site,
    "plan": Plan,
    "group": Group,
    "agent": Agent,
    "role": Role,
    "department": Department,
    "calendar": Calendar,
    "category": Category,
    "address": MailAddress,
    "key": ApiKey,
    "secret": Secret,
}


class DirectoryEntry(EventData):
    """One object's state: `body` as its model dumps, or `deleted`."""

    kind: str
    """A kind that a reader does not know was added by a newer writer: not for this reader."""
    object_id: str
    version: int
    deleted: bool = False
    body: dict[str, object] | None = None


DIRECTORY_EVENT_MODELS: dict[str, type[DirectoryEntry]] = {"kefu.directory.changed": DirectoryEntry}
"""Every type on the topic and its data, by full name."""
