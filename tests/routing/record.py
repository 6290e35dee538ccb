"""What routing wrote down of its assignments, read back: who was offered what and why, who had it, and who waited."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg

from tests.routing.service import Json

Span = tuple[datetime, datetime]
NEVER = datetime.fromtimestamp(0, UTC)

_HISTORY = """
select h.type, h.at, h.data::text, h.why::text, t.id, t.site, t.channel, t.category, t.tier, t.status, t.preferred,
    t.preferred_until
from history h join tickets t on t.id = h.ticket order by h.ticket, h.sequence
"""
_FREE = ("kefu.ticket.declined", "kefu.ticket.lapsed", "kefu.ticket.resolved")
_WAITS_NO_MORE = ("kefu.ticket.offered", "kefu.ticket.resolved", "kefu.ticket.abandoned")


@dataclass(frozen=True)
class Offered:
    """One offer, the overflow steps that its ticket had taken before it and when, and who had declined it by then."""

    ticket: "Waited"
    agent: str
    at: datetime
    why: Json
    steps: list[Json]
    declined: dict[str, datetime]


@dataclass
class Waited:
    """A ticket, and how it waited: each piece with the overflow steps that were taken before it."""

    id: UUID
    site: str
    channel: str
    category: str | None
    tier: str | None
    status: str
    preferred: str | None
    preferred_until: datetime | None
    offers: list[Offered] = field(default_factory=list, repr=False)
    declined: dict[str, datetime] = field(default_factory=dict)
    waits: list[tuple[Span, list[Json]]] = field(default_factory=list, repr=False)

    @property
    def is_written(self) -> bool:
        return self.channel in ("email", "message")

    @property
    def known_at(self) -> datetime:
        """When routing read of it, which its id tells: what passed before that, it passed on Kafka."""
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, UTC)


@dataclass(frozen=True)
class Hold:
    """A ticket that filled an agent's hands, from the offer until it was declined or resolved."""

    agent: str
    channel: str
    since: datetime
    until: datetime
    is_done: bool
    """Resolved, not declined."""


@dataclass(frozen=True)
class Record:
    """All tickets, and what agents held."""

    tickets: list[Waited]
    holds: list[Hold]

    @property
    def offers(self) -> list[Offered]:
        return sorted((o for t in self.tickets for o in t.offers), key=lambda o: o.at)

    def held(self, agent: str, at: datetime, channel: str | None = None) -> tuple[int, int]:
        """How much the agent had in hand when an assignment read its clock: for certain, and at most.

        It locks the agent before it reads the clock, so what began earlier was committed, and what ended later was not.
        The rest is what the same transaction offered, and what a command ended shortly before, and may have committed
        shortly after.
        """
        theirs = [h for h in self.holds if h.agent == agent and channel in (None, h.channel)]
        lately = at - timedelta(seconds=1)
        return (
            sum(h.since < at < h.until for h in theirs),
            sum(h.since <= at and lately < h.until for h in theirs),
        )

    def offered_to(self, agent: str, at: datetime) -> tuple[list[datetime], list[datetime]]:
        """When the agent was offered anything before an assignment, and by it: exactly, for the same reason."""
        times = sorted(h.since for h in self.holds if h.agent == agent and h.since <= at)
        return [t for t in times if t < at], [t for t in times if t == at]

    def freed_before(self, agent: str, at: datetime) -> datetime:
        """When what the agent resolved last, had ended at the latest; with the same grace as `held`."""
        lately = at - timedelta(seconds=1)
        done = [h.until for h in self.holds if h.agent == agent and h.is_done and h.until < lately]
        return max(done, default=NEVER)

    def longest_free(self, agent: str, channel: str, most: int, spans: Iterable[Span]) -> timedelta:
        """How long in one go the agent had room for one more of the channel, within these spans."""
        of_both = [h for h in self.holds if (h.agent, h.channel) == (agent, channel)]
        longest = timedelta()
        for since, until in merged(spans):
            inside = {at for h in of_both for at in (h.since, h.until) if since < at < until}
            run = timedelta()
            for start, end in pairwise(sorted({since, until} | inside)):
                has_room = sum(h.since <= start < h.until for h in of_both) < most
                run = run + (end - start) if has_room else timedelta()
                longest = max(longest, run)
        return longest


def merged(spans: Iterable[Span]) -> list[Span]:
    """Those that follow on each other as one."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        elif since < until:
            found.append((since, until))
    return found


def without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """What is left of the spans."""
    left = list(spans)
    for off, on in cuts:
        left = [piece for since, until in left for piece in ((since, min(until, off)), (max(since, on), until))]
    return [(since, until) for since, until in left if since < until]


async def read(database: "asyncpg.Connection[asyncpg.Record]", end: datetime) -> Record:
    """Of everything until `end`."""
    rows: dict[UUID, list[asyncpg.Record]] = {}
    for row in await database.fetch(_HISTORY):
        rows.setdefault(row["id"], []).append(row)
    holds: list[Hold] = []
    return Record([_read(events, holds, end) for events in rows.values()], holds)


def _read(rows: Sequence[asyncpg.Record], holds: list[Hold], end: datetime) -> Waited:
    head = dict(rows[0])
    ticket = Waited(**{name: head[name] for name in list(Waited.__dataclass_fields__)[:8]})
    steps: list[Json] = []
    waits_since: datetime | None = None
    held_by: tuple[str, datetime] | None = None
    for row in rows:
        type, at, data, why = row["type"], row["at"], json.loads(row["data"]), json.loads(row["why"] or "{}")
        if waits_since is not None and (type == "kefu.ticket.queued" or type in _WAITS_NO_MORE):
            ticket.waits.append(((waits_since, at), list(steps)))
            waits_since = None
        if type == "kefu.ticket.queued":
            steps += [{**why, "at": at}] if data["cause"] == "overflow" else []
            waits_since = max(at, ticket.known_at)
        if type == "kefu.ticket.offered":
            ticket.offers.append(Offered(ticket, data["agent"], at, why, list(steps), dict(ticket.declined)))
            held_by = data["agent"], at
        if type == "kefu.ticket.declined":
            ticket.declined[data["agent"]] = at
        if type in _FREE and held_by is not None:
            holds.append(Hold(held_by[0], ticket.channel, held_by[1], at, type == "kefu.ticket.resolved"))
            held_by = None
    if waits_since is not None:
        ticket.waits.append(((waits_since, end), list(steps)))
    if held_by is not None:
        holds.append(Hold(held_by[0], ticket.channel, held_by[1], end, False))
    return ticket


def rank_of(shown: Any) -> list[Any]:
    """A candidate's rank as `history` shows it, with its times as times."""
    parts = shown if isinstance(shown, list) else [shown]
    return [datetime.fromisoformat(part) if isinstance(part, str) else part for part in parts]
