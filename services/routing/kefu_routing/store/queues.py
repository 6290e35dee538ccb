"""What waits: per group, in the order of the queue."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from kefu_common.events.words import Channel, TicketStatus
from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.model import Ticket
from kefu_routing.store.tickets import COLUMNS, ticket_of

IN_TURN = "turn_at, id"
"""The order of a queue: of a group's tickets of one channel, the first is next."""


_TRY_LOCK_GROUP = "pg_try_advisory_xact_lock(hashtextextended({}, 1))"


async def lock_groups(tx: Connection, groups: Collection[GroupKey]) -> set[GroupKey]:
    """One assignment of a group at a time, over all processes; returns the groups that nobody else assigns now."""
    named = {"\x1f".join(group): group for group in groups}
    rows = await tx.fetch(f"select g from unnest($1::text[]) g where {_TRY_LOCK_GROUP.format('g')}", sorted(named))
    return {named[row["g"]] for row in rows}


Place = tuple[datetime, UUID]
"""Where in a queue: by turn, then by id."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one queue, or what follows after a place: a group's tickets of a channel, those that go on apart
    from what remains of others."""

    group: GroupKey
    channel: Channel
    live: bool
    most: int
    after: Place | None = None


class Shared(NamedTuple):
    """A ticket that waits in several groups."""

    id: UUID
    places: frozenset[GroupKey]


async def shared(tx: Reader, groups: Collection[GroupKey]) -> tuple[list[Shared], bool]:
    """Tickets that wait in one of these groups and in others too, or in one of those others and in further ones.

    Of those whose turn it is, at most 1000 an account, and whether these are all. Their agents are looked at together.
    """
    rows = await tx.fetch(
        'select t.id, t.account, t."group", t.wider from unnest($1::text[]) k (account)'
        ' cross join lateral (select id, account, "group", wider from tickets where account = k.account'
        " and status = 'queued' and wider <> '{}' and ready_at <= now() order by turn_at limit $2) t",
        sorted({account for account, _ in groups}),
        _SHARED_MOST,
    )
    found = [Shared(r["id"], frozenset((r["account"], group) for group in (r["group"], *r["wider"]))) for r in rows]
    near: set[GroupKey] = set(groups)
    while True:
        touching = [ticket for ticket in found if not ticket.places.isdisjoint(near)]
        further = near.union(*(ticket.places for ticket in touching))
        if further == near:
            return touching, len(rows) < _SHARED_MOST
        near = further


_SHARED_MOST = 1000
_HEADS = f"""
select h.account, h."group", head.id
from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::integer[], $6::timestamptz[], $7::uuid[]) h (
    account, "group", channel, live, most, after_at, after_id
)
{{}}cross join lateral (
    select id from tickets t where t.account = h.account and t."group" = h."group" and t.channel = h.channel
        and t.live = h.live and t.status = 'queued' and t.ready_at <= $8
        and (t.turn_at, t.id) > (h.after_at, h.after_id)
    order by {IN_TURN} limit h.most
) head
"""

# An array of ids, and not a join: it is looked up by the primary key, whatever the planner believes of the table.
_LOCK = (
    f"select {COLUMNS} from tickets where id = any(array(select id from ({_HEADS.format('')}) heads) || $9::uuid[])"
    " order by id for update"
)
# The groups, and behind them what waits there: all that is not locked by others, and what there is of the rest.
_TRY_LOCK = f"""
with ours as materialized (
    select account, "group" from unnest($10::text[], $11::text[]) g (account, "group")
    where {_TRY_LOCK_GROUP.format('account || chr(31) || "group"')}
), heads as materialized ({_HEADS.format('join ours using (account, "group") ')}), locked as materialized (
    select {COLUMNS} from tickets where id = any(array(select id from heads) || $9::uuid[])
    order by id for update skip locked
)
select 'ticket' as what, null as in_account, null as in_group, null::uuid as head, * from locked
union all select 'place', p.account, p."group", p.id, t.* from (
    select account, "group", id from heads union all select account, "group", null from ours
) p left join (select {COLUMNS} from tickets) t on false
"""


async def lock_waiting(
    tx: Connection, heads: Sequence[Head], also: Collection[UUID], groups: Collection[GroupKey], now: datetime
) -> list[Ticket]:
    """The tickets at these heads and those that are named, locked in the order of ids; only those of the groups."""
    if not heads and not also:
        return []
    rows = await tx.fetch(_LOCK, *_arguments(heads, now), list(also))
    return [t for t in _still_queued(rows, groups) if t.ready_at <= now]


async def try_lock_waiting(
    tx: Connection, heads: Sequence[Head], also: Collection[UUID], groups: Collection[GroupKey], now: datetime
) -> tuple[list[Ticket], set[GroupKey]]:
    """The same without waiting for anybody, with the locks of the groups; and the groups that are somebody else's, or
    in which somebody else has or just had what is at the head: one does not see what is behind it."""
    named = [list(column) for column in zip(*groups, strict=True)]
    rows = await tx.fetch(_TRY_LOCK, *_arguments(heads, now), list(also), *named)
    locked = [row[4:] for row in rows if row["what"] == "ticket"]
    places = [row for row in rows if row["what"] == "place"]
    ours = {(row["in_account"], row["in_group"]) for row in places if row["head"] is None}
    seen = {row["head"]: (row["in_account"], row["in_group"]) for row in places if row["head"] is not None}
    waiting = [t for t in _still_queued(locked, ours) if t.ready_at <= now]
    missed = (seen.keys() - {t.id for t in waiting}) | (
        set(also) - {row["id"] for row in rows if row["what"] == "ticket"}
    )
    if missed - seen.keys():
        return waiting, set(groups)
    return waiting, {seen[id] for id in missed} | set(groups) - ours


def _arguments(heads: Sequence[Head], now: datetime) -> list[Any]:
    return [
        [h.group[0] for h in heads],
        [h.group[1] for h in heads],
        [h.channel.value for h in heads],
        [h.live for h in heads],
        [h.most for h in heads],
        [h.after[0] if h.after else _FIRST[0] for h in heads],
        [h.after[1] if h.after else _FIRST[1] for h in heads],
        now,
    ]


_FIRST: Place = (datetime.min.replace(tzinfo=UTC), UUID(int=0))


async def lock_homeless(tx: Connection, gone: Collection[GroupKey], limit: int) -> list[Ticket]:
    """Tickets that wait in groups that are gone."""
    rows = await tx.fetch(
        f"select {COLUMNS} from tickets where id = any(array(select t.id from"
        ' unnest($1::text[], $2::text[]) g (account, "group") join tickets t on t.account = g.account'
        ' and t."group" = g."group" and t.status = \'queued\' order by t.id limit $3)) order by id for update',
        [account for account, _ in gone],
        [group for _, group in gone],
        limit,
    )
    return _still_queued(rows, gone)


def _still_queued(rows: Iterable[Iterable[Any]], groups: Collection[GroupKey]) -> list[Ticket]:
    """While we waited for a lock, a ticket may have been taken, or have moved to another group."""
    found = [ticket_of(row) for row in rows]
    return [t for t in found if t.status is TicketStatus.QUEUED and (t.account, t.group) in groups]


async def used(
    tx: Reader, account: str, groups: Collection[str], agents: Collection[str]
) -> tuple[list[str], list[str]]:
    """Those of these groups and agents where an open ticket waits, is offered or is in hand."""
    rows = await tx.fetch(
        "select 'group' as what, g.id from unnest($2::text[]) g (id) where"
        " exists (select from tickets t where t.account = $1 and t.\"group\" = g.id and t.status = 'queued')"
        " or exists (select from tickets t where t.account = $1 and t.status = 'active' and t.\"group\" = g.id)"
        " or exists (select from offers o join tickets t on t.id = o.ticket where o.account = $1"
        " and o.status = 'open' and t.\"group\" = g.id)"
        " union all select 'agent', a.id from unnest($3::text[]) a (id) where"
        " exists (select from tickets t where t.account = $1 and t.status = 'active' and t.handler = a.id)"
        " or exists (select from offers o where o.account = $1 and o.status = 'open' and o.agent = a.id)",
        account,
        sorted(groups),
        sorted(agents),
    )
    return [r["id"] for r in rows if r["what"] == "group"], [r["id"] for r in rows if r["what"] == "agent"]


async def waiting_groups(pool: Reader, now: datetime) -> set[tuple[str, str]]:
    """Groups where something may be offered now."""
    rows = await pool.fetch(
        "select distinct account, \"group\" from tickets where status = 'queued' and ready_at <= $1"
        ' and "group" is not null',
        now,
    )
    return {(r["account"], r["group"]) for r in rows}


async def lengths(tx: Reader, account: str, now: datetime) -> list[asyncpg.Record]:
    """Per group: how many wait (`waiting`), how many of them on the line (`live`), the oldest's opening (`oldest`)."""
    return await tx.fetch(
        'select "group", count(*) as waiting, count(*) filter (where live) as live, min(opened_at) as oldest'
        " from tickets where account = $1"
        ' and status = \'queued\' and ready_at <= $2 and "group" is not null group by "group" order by "group"',
        account,
        now,
    )


async def all_lengths(pool: Reader, now: datetime) -> list[asyncpg.Record]:
    """The same over all accounts, for the metrics."""
    return await pool.fetch(
        'select account, "group", count(*) as waiting, min(opened_at) as oldest from tickets'
        ' where status = \'queued\' and ready_at <= $1 and "group" is not null group by account, "group"',
        now,
    )


async def open_anew(tx: Connection, opens_at: Mapping[tuple[str, str], datetime]) -> None:
    """Opening hours changed: what waits for an open minute of these sites (account, site) waits for another one, and
    counts as having come so much earlier or later."""
    await tx.execute(
        "update tickets t set ready_at = k.opens_at, came_at = came_at + (k.opens_at - ready_at),"
        " turn_at = turn_at + (k.opens_at - ready_at), queued_at = queued_at + (k.opens_at - ready_at),"
        " step_at = step_at + (k.opens_at - ready_at), preferred_until = preferred_until + (k.opens_at - ready_at)"
        " from unnest($1::text[], $2::text[], $3::timestamptz[]) k (account, site, opens_at)"
        " where t.account = k.account and t.site = k.site and t.status = 'queued' and not t.live"
        " and t.ready_at > now() and isfinite(t.ready_at)",
        [account for account, _ in opens_at],
        [site for _, site in opens_at],
        list(opens_at.values()),
    )


async def sites_held(pool: Reader, now: datetime) -> set[tuple[str, str]]:
    """Sites (account, site) for which something waits until they open."""
    rows = await pool.fetch(
        "select distinct account, site from tickets where status = 'queued' and not live and ready_at > $1", now
    )
    return {(r["account"], r["site"]) for r in rows}


async def sites_written_to(pool: Reader, now: datetime) -> set[tuple[str, str]]:
    """Sites (account, site) for which something written waits that may be offered now."""
    rows = await pool.fetch(
        f"select distinct account, site from tickets where {_WRITTEN_AND_READY}",
        now,
    )
    return {(r["account"], r["site"]) for r in rows}


async def written_to(pool: Reader, sites: Collection[tuple[str, str]], now: datetime, limit: int) -> list[UUID]:
    """Such tickets of these sites."""
    rows = await pool.fetch(
        f"select id from tickets where {_WRITTEN_AND_READY}"
        " and (account, site) in (select * from unnest($2::text[], $3::text[])) limit $4",
        now,
        [account for account, _ in sites],
        [site for _, site in sites],
        limit,
    )
    return [r["id"] for r in rows]


_WRITTEN_AND_READY = "status = 'queued' and channel in ('email', 'message') and ready_at <= $1"


async def waiting_live(tx: Reader, account: str, groups: Collection[str], now: datetime) -> list[asyncpg.Record]:
    """Per group and site: how many calls and chats wait (`waiting`)."""
    return await tx.fetch(
        'select "group", site, count(*) as waiting from tickets where account = $1 and "group" = any($2::text[])'
        " and status = 'queued' and live and ready_at <= $3 group by \"group\", site",
        account,
        sorted(groups),
        now,
    )


async def answers(
    tx: Reader, groups: Collection[GroupKey], since: datetime, now: datetime
) -> dict[tuple[GroupKey, Channel], int]:
    """How many calls and chats were answered in each group lately. Those still in the group count, others do not."""
    rows = await tx.fetch(
        'select k.account, k."group", t.channel, count(*) as answered from unnest($1::text[], $2::text[])'
        ' k (account, "group") join tickets t on t.account = k.account and t."group" = k."group"'
        " and t.channel in ('call', 'chat') and t.answered_at > $3 and t.answered_at <= $4"
        ' group by k.account, k."group", t.channel',
        [account for account, _ in groups],
        [group for _, group in groups],
        since,
        now,
    )
    return {((r["account"], r["group"]), Channel(r["channel"])): r["answered"] for r in rows}


async def kinds_waiting(
    tx: Reader, account: str, groups: Collection[str], agent: str, passed_since: datetime, now: datetime
) -> list[asyncpg.Record]:
    """What kinds of tickets wait in the groups, or overflowed to them.

    Each by group, those to which it overflowed (`wider`), channel, category, site and overflow step, whether it takes
    capacity, whether the agent passed it since then, and which other agent, who is there, it prefers (`waits_for`).
    """
    return await tx.fetch(
        # Like assignment it reads nothing but what waits.
        'select distinct "group", wider, channel, category, site, step,'
        " live or channel in ('email', 'message') as takes_capacity,"
        " coalesce((passed ->> $4)::timestamptz > $5, false) as is_passed, case when preferred <> $4"
        " and preferred_until > $3 and exists (select from seats s where s.account = tickets.account and s.agent ="
        " preferred and s.state in ('available', 'busy', 'after_call') and s.next_state is null) then preferred end"
        " as waits_for from tickets where account = $1 and status = 'queued' and ready_at <= $3"
        ' and ("group" = any($2::text[]) or wider && $2::text[])',
        account,
        sorted(groups),
        now,
        agent,
        passed_since,
    )
