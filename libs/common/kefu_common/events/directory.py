"""Events of `kefu.directory.v1`: the current state of each directory object. Private and compacted.

The key is `account/kind/id`; a lower `version` than the one already seen is ignored.
"""

from datetime import time
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from kefu_common.events.envelope import EventData
from kefu_common.given import NO_NUL, Given

Kind = Literal["account", "site", "plan", "group", "agent", "calendar", "key"]

_ZONES = available_timezones()


def _known_zone(value: str) -> str:
    if value not in _ZONES:
        raise ValueError("expected an IANA time zone such as Asia/Shanghai")
    return value


ObjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""1–64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]
Phone = Annotated[str, StringConstraints(max_length=40, pattern=NO_NUL)]
EmailAddress = Annotated[str, StringConstraints(max_length=254, pattern=NO_NUL)]
Strategy = Literal["round_robin"]
Role = Literal["agent", "leader", "administrator"]


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
    calendar: ObjectId | None = None
    """Working hours; none means always open."""


class Texts(Given):
    """What contacts are told without an agent; an absent one is not said."""

    model_config = ConfigDict(frozen=True)

    welcome: Text | None = None
    closing: Text | None = None
    offline: Text | None = None


class Plan(DirectoryObject):
    """客服方案: how one site receives. What names no category of a group goes to the first group."""

    site: ObjectId
    groups: list[ObjectId] = Field(min_length=1, max_length=100)
    strategy: Strategy = "round_robin"
    texts: Texts = Texts()
    max_wait_s: int | None = Field(default=None, ge=1, le=86_400)
    """A call or chat that waits longer is abandoned with the offline text."""
    offer_s: dict[Literal["call", "chat", "email", "message"], int] = Field(default_factory=dict)
    """Seconds until an offer lapses, per channel; unset: calls 15 (three rings, K-01), chats 30, others 300."""


class Group(DirectoryObject):
    """Agents who receive the same tickets. A leader is required (D-06)."""

    name: Name
    leader: ObjectId
    agents: list[ObjectId] = Field(min_length=1, max_length=1000)
    categories: list[Word] = Field(default_factory=list, max_length=200)
    sources: list[Word] = Field(default_factory=list, max_length=200)
    """Sources served (D-08), or `*` for all; none ticked receives nothing."""
    tiers: list[Word] = Field(default_factory=list, max_length=200)
    """Tiers served (D-07), or `*` for all; none ticked receives nothing."""

    @model_validator(mode="after")
    def _leader_is_a_member(self) -> "Group":
        if self.leader not in self.agents:
            raise ValueError("leader: expected one of the group's agents")
        return self


class Capacity(Given):
    """How many of each an agent holds at the same time; `email` covers offline messages too."""

    model_config = ConfigDict(frozen=True)

    call: int = Field(default=1, ge=0, le=10_000)
    chat: int = Field(default=3, ge=0, le=10_000)
    email: int = Field(default=5, ge=0, le=10_000)


class Agent(DirectoryObject):
    """坐席. `phone` is where calls ring; an administrator's is where SMS go."""

    name: Name
    login: Name | None = None
    phone: Phone | None = None
    email: EmailAddress | None = None
    roles: list[Role] = Field(default_factory=lambda: list[Role](["agent"]))
    capacity: Capacity = Capacity()


class Window(Given):
    """Open from `start` until `end` on these ISO weekdays (1 Monday to 7 Sunday); `end` 00:00 is midnight."""

    model_config = ConfigDict(frozen=True)

    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(min_length=1)
    start: time
    end: time

    @model_validator(mode="after")
    def _ordered(self) -> "Window":
        if self.end != time(0) and self.end <= self.start:
            raise ValueError("end: expected a time after start, or 00:00 for midnight")
        return self


class Calendar(DirectoryObject):
    """Weekly opening hours in the site's time zone; no window means never open."""

    name: Name
    weekly: list[Window] = Field(default_factory=list, max_length=100)


class ApiKey(DirectoryObject):
    """What the directory knows of an API key: never the key, only its SHA-256 in hex."""

    adapter: ObjectId | None = None
    scopes: list[str]
    sites: list[ObjectId] | None = None
    """Sites it may act for; none means all."""
    expires_at: AwareDatetime | None = None
    hash: str


DIRECTORY_MODELS: dict[Kind, type[DirectoryObject]] = {
    "account": Account,
    "site": Site,
    "plan": Plan,
    "group": Group,
    "agent": Agent,
    "calendar": Calendar,
    "key": ApiKey,
}


class DirectoryEntry(EventData):
    """One object's state: `body` as its model dumps, or `deleted`."""

    kind: Kind
    object_id: str
    version: int
    deleted: bool = False
    body: dict[str, object] | None = None


DIRECTORY_EVENT_MODELS: dict[str, type[DirectoryEntry]] = {"kefu.directory.changed": DirectoryEntry}
"""Every type on the topic and its data, by full name."""
