"""What waits: per group, in the order of the queue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from kefu_common.events.words import Channel, TicketStatus
from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.model import Ticket
from kefu_routing.store.tickets import COLUMNS, ticket_of

IN_TURN = "priority desc, opened_at"
"""The order of a queue: of a group's tickets of one channel, the first is next."""


async def lock_groups(tx: Connection, groups: Collection[GroupKey]) -> None:
    """One assignment of a group at a time, over all processes."""
    await tx.execute(
        "select pg_advisory_xact_lock(h) from"
        " (select distinct hashtextextended(g, 1) as h from unnest($1::text[]) g order by h) sorted",
        ["\x1f".join(group) for group in groups],
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one queue: a group's tickets of a channel, those that go on apart from what remains of others."""

    group: GroupKey
    channel: Channel
    live: bool
    most: int


async def lock_waiting(tx: Connection, heads: Sequence[Head], now: datetime) -> list[Ticket]:
    """The tickets at these heads, locked in the order of ids."""
    if not heads:
        return []
    # An array of ids, and not a join: it is looked up by the primary key, whatever the planner believes of the table.
    rows = await tx.fetch(
        f"select {COLUMNS} from tickets where id = any(array(select head.id from"
        " unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::integer[])"
        ' h (account, "group", channel, live, most)'
        ' cross join lateral (select id from tickets t where t.account = h.account and t."group" = h."group"'
        " and t.channel = h.channel and t.live = h.live and t.status = 'queued' and t.ready_at <= $6"
        f" order by {IN_TURN} limit h.most) head)) order by id for update",
        [h.group[0] for h in heads],
        [h.group[1] for h in heads],
        [h.channel.value for h in heads],
        [h.live for h in heads],
        [h.most for h in heads],
        now,
    )
    return _still_queued(rows, {h.group for h in heads})


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


def _still_queued(rows: Sequence[asyncpg.Record], groups: Collection[GroupKey]) -> list[Ticket]:
    """While we waited for a lock, a ticket may have been taken, or have moved to another group."""
    found = [ticket_of(row) for row in rows]
    return [t for t in found if t.status is TicketStatus.QUEUED and (t.account, t.group) in groups]


async def is_used(tx: Reader, account: str, *, group: str | None = None, agent: str | None = None) -> bool:
    """Whether an open ticket waits in, is offered to or is in the hands of the group or the agent."""
    found: bool = await tx.fetchval(
        "select exists (select from tickets where account = $1 and \"group\" = $2 and status = 'queued')"
        " or exists (select from tickets where account = $1 and status = 'active' and (\"group\" = $2 or handler = $3))"
        " or exists (select from offers o join tickets t on t.id = o.ticket where o.account = $1"
        " and o.status = 'open' and (t.\"group\" = $2 or o.agent = $3))",
        account,
        group,
        agent,
    )
    return found


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


async def look_again(tx: Connection, account: str) -> None:
    """Opening hours changed: what waits for an open minute is looked at again, at once."""
    await tx.execute(
        "update tickets set ready_at = now() where account = $1 and status = 'queued' and ready_at > now()", account
    )


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


async def kinds_waiting(tx: Reader, account: str, groups: Collection[str], now: datetime) -> list[asyncpg.Record]:
    """What kinds of tickets wait in the groups: group, channel, category, and whether they take capacity."""
    return await tx.fetch(
        # Like assignment it reads nothing but what waits.
        "select distinct \"group\", channel, category, live or channel in ('email', 'message') as takes_capacity"
        " from tickets where account = $1 and \"group\" = any($2::text[]) and status = 'queued' and ready_at <= $3",
        account,
        sorted(groups),
        now,
    )
