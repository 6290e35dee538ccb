"""Events of `kefu.directory.v1`: the current state of each directory object. Private and compacted.

The key is `account/kind/id`; a lower `version` than the one already seen is ignored.
"""

from datetime import datetime, time
from importlib.resources import files
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from kefu_common.events.envelope import EventData
from kefu_common.given import NO_NUL, Given

Kind = Literal["account", "site", "plan", "group", "agent", "calendar", "address", "key", "secret"]

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


ObjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""1–64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Region = Annotated[str, AfterValidator(_known_region)]
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
    region: Region = "CN"
    """The country whose numbers are written here without a country code."""
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
    "calendar": Calendar,
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
