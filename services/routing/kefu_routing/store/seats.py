"""Agents' presence, what they hold, and the locks under which they are given work."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from kefu_common.events.words import Channel, PresenceState
from kefu_common.postgres.database import Connection, Reader
from kefu_common.postgres.writes import Writes
from kefu_routing.domain.model import Seat

AgentKey = tuple[str, str]
"""Account and agent."""

_COLUMNS = ", ".join(f"s.{f.name}" for f in fields(Seat))


async def lock(tx: Connection, agents: Iterable[AgentKey], *, may_wait: bool = True) -> dict[AgentKey, Seat]:
    """Lock agents (account, id), in that order, until the transaction ends. Whoever is given work is locked first.

    Unless we `may_wait`, those whom others have locked are left out."""
    wanted = sorted(set(agents))
    if not wanted:
        return {}
    rows = await tx.fetch(
        f"select {_COLUMNS} from seats s join unnest($1::text[], $2::text[]) k (account, agent) using (account, agent)"
        f" order by s.account, s.agent for update of s{'' if may_wait else ' skip locked'}",
        [a[0] for a in wanted],
        [a[1] for a in wanted],
    )
    return {(r["account"], r["agent"]): seat_of(r) for r in rows}


# By account, and its agents as one text: an array is looked up in an index at once, at a fraction of a join's price.
_NAMED = """
with named as materialized (
    select account, string_to_array(agents, chr(31)) as agents from unnest($1::text[], $2::text[]) k (account, agents)
)
"""

_AT_WORK = f"""{_NAMED}
select account,
    array(
        select s.agent from seats s
        where s.account = n.account and s.agent = any(n.agents) and s.state = 'available' and s.next_state is null
    ) as there,
    array(
        select t.holder from tickets t
        where t.account = n.account and t.holder = any(n.agents) and t.channel = 'call'
    ) as on_a_call,
    exists (
        select from tickets t where t.account = n.account and t.status = 'queued' and t.wider <> '{{}}'
    ) as has_shared
from named n
"""

_STATES = f"""{_NAMED}
select s.account, s.agent, s.state, s.next_state is not null as is_leaving
from named n join seats s on s.account = n.account and s.agent = any(n.agents)
"""


class AtWork(NamedTuple):
    """Agents as they were at a moment; not locked."""

    there: set[AgentKey]
    """Available, and not about to leave."""
    on_a_call: set[AgentKey]
    has_shared: bool
    """Whether a ticket of their accounts waits in several groups: asked here to save the question in its own right."""


async def at_work(tx: Reader, teams: Mapping[tuple[str, str], Collection[AgentKey]]) -> AtWork:
    """Who of the agents of these groups (account, id) is there, and who is on a call."""
    by_account: dict[str, set[str]] = {}
    for (account, _), team in teams.items():
        by_account.setdefault(account, set()).update(agent for _, agent in team)
    rows = await tx.fetch(_AT_WORK, *_as_arguments(by_account))
    there = {(row["account"], agent) for row in rows for agent in row["there"]}
    on_a_call = {(row["account"], agent) for row in rows for agent in row["on_a_call"]}
    return AtWork(there, on_a_call, any(row["has_shared"] for row in rows))


async def states(tx: Reader, agents: Collection[AgentKey]) -> dict[AgentKey, tuple[str | None, bool]]:
    """The state of each of these agents (None: signed out), and whether they are about to leave it; not locked."""
    if not agents:
        return {}
    by_account: dict[str, set[str]] = {}
    for account, agent in agents:
        by_account.setdefault(account, set()).add(agent)
    rows = await tx.fetch(_STATES, *_as_arguments(by_account))
    return {(row["account"], row["agent"]): (row["state"], row["is_leaving"]) for row in rows}


def _as_arguments(by_account: Mapping[str, Collection[str]]) -> tuple[list[str], list[str]]:
    return list(by_account), ["\x1f".join(sorted(agents)) for agents in by_account.values()]


def seat_of(row: asyncpg.Record) -> Seat:
    """A row as a seat."""
    values = dict(row)
    for name in ("state", "next_state"):
        values[name] = PresenceState(values[name]) if values[name] is not None else None
    return Seat(**values)


async def save(tx: Connection, seats: Iterable[Seat]) -> None:
    """Write what these agents, who are locked, do now."""
    writes = Writes()
    add(writes, seats)
    await writes.run(tx)


def add(writes: Writes, seats: Iterable[Seat]) -> None:
    """The same, together with other writes."""
    rows = list(seats)
    if not rows:
        return
    writes.add(
        "update seats s set since = case when s.state is distinct from k.state then now() else s.since end,"
        " state = k.state, reason = k.reason, next_state = k.next_state, next_reason = k.next_reason,"
        " until = k.until, freed_at = k.freed_at"
        " from jsonb_to_recordset($1::jsonb) k (account text, agent text, state text, reason text, next_state text,"
        " next_reason text, until timestamptz, freed_at timestamptz) where s.account = k.account and s.agent = k.agent",
        rows,
    )


async def in_hand(tx: Connection, agents: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How many tickets these agents have in hand: accepted, and not over."""
    rows = await tx.fetch(
        "select k.account, k.agent, count(t.id) as held from unnest($1::text[], $2::text[]) k (account, agent)"
        " left join tickets t on t.account = k.account and t.holder = k.agent and t.status = 'active'"
        " group by k.account, k.agent",
        [a[0] for a in agents],
        [a[1] for a in agents],
    )
    return {(r["account"], r["agent"]): r["held"] for r in rows}


async def held_by(tx: Reader, agents: Collection[tuple[str, str]]) -> dict[tuple[str, str], dict[Channel, int]]:
    """How many tickets of each channel these agents hold, offered ones included.

    With the agents locked the numbers cannot rise; they may fall, and then the group is looked at again.
    """
    rows = await tx.fetch(
        "select k.account, k.agent, t.channel, t.held from unnest($1::text[], $2::text[]) k (account, agent)"
        " cross join lateral (select channel, count(*) as held from tickets where account = k.account"
        " and holder = k.agent group by channel) t",
        [a[0] for a in agents],
        [a[1] for a in agents],
    )
    held: dict[tuple[str, str], dict[Channel, int]] = {agent: {} for agent in agents}
    for row in rows:
        held[row["account"], row["agent"]][Channel(row["channel"])] = row["held"]
    return held


def add_counts(writes: Writes, seats: Sequence[Seat]) -> None:
    """Write what the strategies count. The seats are locked."""
    if not seats:
        return
    writes.add(
        "update seats s set offers_day = k.day, offers_today = k.today, last_offer_at = k.last"
        " from unnest($1::text[], $2::text[], $3::date[], $4::integer[], $5::timestamptz[])"
        " k (account, agent, day, today, last) where s.account = k.account and s.agent = k.agent",
        [s.account for s in seats],
        [s.agent for s in seats],
        [s.offers_day for s in seats],
        [s.offers_today for s in seats],
        [s.last_offer_at for s in seats],
    )


async def signed_in(tx: Connection, account: str) -> list[str]:
    """Who holds a seat of the account's licence."""
    rows = await tx.fetch("select agent from seats where account = $1 and state is not null order by agent", account)
    return [row["agent"] for row in rows]


async def sign_in(tx: Connection, account: str, agent: str, lease_s: int) -> None:
    """Take a seat, available. `lease_s` 0: no lease."""
    await tx.execute(
        "insert into seats as s (account, agent, state, since, freed_at, lease_s, lease_until)"
        " values ($1, $2, 'available', now(), now(), $3::integer,"
        " case $3::integer when 0 then 'infinity' else now() + make_interval(secs => $3::integer) end)"
        " on conflict (account, agent) do update set state = excluded.state, since = now(), reason = null,"
        " next_state = null, next_reason = null, until = null, freed_at = now(), lease_s = excluded.lease_s,"
        " lease_until = excluded.lease_until",
        account,
        agent,
        lease_s,
    )


async def sign_out(tx: Connection, account: str, agent: str) -> None:
    """Leave the seat."""
    await tx.execute(
        "update seats set state = null, reason = null, next_state = null, next_reason = null, until = null,"
        " since = now() where account = $1 and agent = $2",
        account,
        agent,
    )


async def renew_lease(
    tx: Connection, account: str, agent: str, lease_s: int | None = None
) -> tuple[PresenceState | None, str | None]:
    """A sign of life, or a lease of another length; returns the agent's state and its reason."""
    row = await tx.fetchrow(
        "update seats set lease_s = coalesce($3, lease_s), lease_until = case coalesce($3, lease_s) when 0 then"
        " 'infinity' else now() + make_interval(secs => coalesce($3, lease_s)) end"
        " where account = $1 and agent = $2 and state is not null returning state, reason",
        account,
        agent,
        lease_s,
    )
    return (None, None) if row is None else (PresenceState(row["state"]), row["reason"])


async def leases_over(tx: Reader, now: datetime) -> list[tuple[str, str]]:
    """Agents whose client vanished; at most 100."""
    rows = await tx.fetch(f"select account, agent from seats where {_LEASE_OVER} limit 100", now)
    return [(r["account"], r["agent"]) for r in rows]


async def send_away(tx: Connection, agents: Collection[tuple[str, str]], now: datetime) -> list[tuple[str, str]]:
    """Those of these agents, who are locked, whose client is still gone are away from now on."""
    rows = await tx.fetch(
        "update seats s set state = 'away', reason = 'lease',"
        " since = case when state = 'away' then since else $1 end, next_state = null, next_reason = null,"
        " until = null from unnest($2::text[], $3::text[])"
        f" k (account, agent) where s.account = k.account and s.agent = k.agent and {_LEASE_OVER}"
        " returning s.account, s.agent",
        now,
        [a[0] for a in agents],
        [a[1] for a in agents],
    )
    return [(r["account"], r["agent"]) for r in rows]


# Whoever was away before, by themselves or because they missed an offer, has vanished all the same: somebody waits for
# what they have in hand.
_LEASE_OVER = "state is not null and (state <> 'away' or reason is distinct from 'lease') and lease_until <= $1"


async def offered_to(tx: Connection, agents: Collection[tuple[str, str]]) -> list[UUID]:
    """Tickets that are offered to these agents now."""
    rows = await tx.fetch(
        "select o.ticket from offers o join unnest($1::text[], $2::text[]) k (account, agent) using (account, agent)"
        " where o.status = 'open'",
        [a[0] for a in agents],
        [a[1] for a in agents],
    )
    return [r["ticket"] for r in rows]


async def handled_by(tx: Connection, agents: Collection[tuple[str, str]]) -> list[UUID]:
    """Tickets that these agents have in hand."""
    rows = await tx.fetch(
        "select t.id from unnest($1::text[], $2::text[]) k (account, agent)"
        " join tickets t on t.account = k.account and t.handler = k.agent and t.status = 'active'",
        [a[0] for a in agents],
        [a[1] for a in agents],
    )
    return [r["id"] for r in rows]


async def states_over(tx: Reader, now: datetime) -> list[tuple[str, str]]:
    """Agents whose state ends by itself; at most 500."""
    rows = await tx.fetch("select account, agent from seats where until <= $1 order by until limit 500", now)
    return [(r["account"], r["agent"]) for r in rows]


async def make_room(tx: Connection, account: str, agents: Sequence[str]) -> None:
    """A row for each new agent, signed out, so that it can be locked."""
    await tx.execute(
        "insert into seats (account, agent) select $1, * from unnest($2::text[]) on conflict do nothing",
        account,
        list(agents),
    )


async def shown(tx: Reader, account: str, agents: Collection[str]) -> dict[str, asyncpg.Record]:
    """The presence (agent, state, reason, since, next_state, next_reason, until, lease_until) of these agents, of whom
    some may never have been there."""
    rows = await tx.fetch(
        "select agent, state, reason, since, next_state, next_reason, until,"
        " nullif(lease_until, 'infinity') as lease_until from seats where account = $1 and agent = any($2::text[])",
        account,
        list(agents),
    )
    return {row["agent"]: row for row in rows}


async def open_offers(tx: Connection, account: str, agent: str, after: UUID | None, limit: int) -> list[asyncpg.Record]:
    """An agent's open offers, oldest first, after the one that the caller has."""
    return await tx.fetch(
        "select id, ticket, agent, expires_at, status from offers where account = $1 and agent = $2"
        " and status = 'open' and ($3::uuid is null or id > $3) order by id limit $4",
        account,
        agent,
        after,
        limit,
    )
