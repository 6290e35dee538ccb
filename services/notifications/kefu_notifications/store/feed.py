"""The feeds that streams are served from, and the marks from which they resume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

from kefu_common.postgres.database import Connection
from kefu_common.postgres.database import Reader as DbReader
from kefu_notifications.domain.feed import Ordered, Sequenced

Feed: TypeAlias = Literal["tickets", "outbound"]
TicketKey: TypeAlias = tuple[str, UUID]
"""Account and ticket."""

CHANNEL: Final = "kefu_feed"
"""The Postgres notification channel on which new feed rows are announced."""
_ONE_WRITER: Final = 0x6B656675_66656564
DAYS_KEPT: Final = 7


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event as subscribers get it; `event` is the CloudEvent's JSON on one line."""

    feed: Feed
    account: str
    site: str
    channel: str
    adapter: str | None
    subject: str
    type: str
    event: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A row after a mark; `event` is None when this reader is not to see it."""

    mark: int
    type: str
    event: str | None
    forgotten: int
    """The highest mark of the account's feed that is no longer held, as of the same moment."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose stream it is. `sites` and `channels` None: all. `adapter` counts on the outbound feed only."""

    feed: Feed
    account: str
    sites: list[str] | None
    channels: list[str] | None
    adapter: str | None


async def append(tx: Connection, events: Sequence[FeedEvent]) -> None:
    """Add events in order. Must be the transaction's last work: it lets no other writer in until the commit."""
    if not events:
        return
    await tx.execute("select pg_advisory_xact_lock($1)", _ONE_WRITER)
    await tx.execute(
        "insert into feed (feed, account, site, channel, adapter, subject, type, event, expires_at)"
        " select f, a, s, c, d, k, t, e, x from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
        " $6::text[], $7::text[], $8::text[], $9::timestamptz[]) with ordinality n (f, a, s, c, d, k, t, e, x, o)"
        " order by o",
        [e.feed for e in events],
        [e.account for e in events],
        [e.site for e in events],
        [e.channel for e in events],
        [e.adapter for e in events],
        [e.subject for e in events],
        [e.type for e in events],
        [e.event for e in events],
        [e.expires_at for e in events],
    )
    await tx.execute("select pg_notify($1, '')", CHANNEL)


async def lock_tickets(tx: Connection, tickets: Sequence[TicketKey]) -> dict[TicketKey, int]:
    """The last sequence given of each ticket, which nobody else changes until the commit; a new ticket has 0."""
    keys = sorted(set(tickets))
    accounts, ids = [k[0] for k in keys], [k[1] for k in keys]
    await tx.execute(
        "insert into ticket_marks (account, ticket, last_sequence)"
        " select a, t, 0 from unnest($1::text[], $2::uuid[]) n (a, t) on conflict do nothing",
        accounts,
        ids,
    )
    rows = await tx.fetch(
        "select account, ticket, last_sequence from ticket_marks"
        " where (account, ticket) in (select * from unnest($1::text[], $2::uuid[]))"
        " order by account, ticket for update",
        accounts,
        ids,
    )
    return {(row["account"], row["ticket"]): row["last_sequence"] for row in rows}


async def waiting(tx: Connection, tickets: Sequence[TicketKey]) -> list[tuple[TicketKey, Sequenced[FeedEvent]]]:
    """What waits behind a gap of these tickets."""
    rows = await tx.fetch(
        "select * from feed_waiting where (account, ticket) in (select * from unnest($1::text[], $2::uuid[]))",
        [t[0] for t in tickets],
        [t[1] for t in tickets],
    )
    return [
        (
            (row["account"], row["ticket"]),
            Sequenced(
                row["sequence"],
                FeedEvent(
                    "tickets",
                    row["account"],
                    row["site"],
                    row["channel"],
                    None,
                    str(row["ticket"]),
                    row["type"],
                    row["event"],
                ),
            ),
        )
        for row in rows
    ]


async def save_tickets(tx: Connection, tickets: Mapping[TicketKey, Ordered[FeedEvent]]) -> None:
    """Move the tickets' marks and replace what waits behind their gaps."""
    accounts, ids = [k[0] for k in tickets], [k[1] for k in tickets]
    await tx.execute(
        "update ticket_marks m set last_sequence = n.last from unnest($1::text[], $2::uuid[], $3::integer[])"
        " n (account, ticket, last) where m.account = n.account and m.ticket = n.ticket",
        accounts,
        ids,
        [t.last for t in tickets.values()],
    )
    await tx.execute(
        "delete from feed_waiting w using unnest($1::text[], $2::uuid[], $3::integer[]) n (account, ticket, last)"
        " where w.account = n.account and w.ticket = n.ticket and w.sequence <= n.last",
        accounts,
        ids,
        [t.last for t in tickets.values()],
    )
    held = [(key[1], s) for key, ticket in tickets.items() for s in ticket.waiting]
    if held:
        await tx.execute(
            "insert into feed_waiting (account, ticket, sequence, site, channel, type, event)"
            " select * from unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[],"
            " $7::text[]) on conflict do nothing",
            [s.event.account for _, s in held],
            [ticket for ticket, _ in held],
            [s.sequence for _, s in held],
            [s.event.site for _, s in held],
            [s.event.channel for _, s in held],
            [s.event.type for _, s in held],
            [s.event.event for _, s in held],
        )


async def highest(db: DbReader) -> int:
    """The highest mark that was ever given: everything committed later is above it."""
    mark: int = await db.fetchval(
        "select greatest((select max(id) from feed), (select max(mark) from feed_forgotten), 0)"
    )
    return mark


async def forgotten(db: DbReader, feed: Feed, account: str) -> int:
    """The highest mark of an account's feed that is no longer held; 0: all are."""
    found = await db.fetchval("select mark from feed_forgotten where feed = $1 and account = $2", feed, account)
    return found or 0


async def after(db: DbReader, reader: Reader, mark: int, limit: int) -> list[Given]:
    """The next rows of the reader's feed, in order, those that it may not see (any more) without their event."""
    rows = await db.fetch(
        "select id, type, case when ($4::text[] is null or site = any($4))"
        " and (feed = 'tickets' or adapter = $6 or (adapter is null and ($5::text[] is null or channel = any($5))))"
        " and (expires_at is null or expires_at > clock_timestamp()) then event end as event,"
        " coalesce((select mark from feed_forgotten where feed = $1 and account = $2), 0) as forgotten"
        " from feed where feed = $1 and account = $2 and id > $3 order by id limit $7",
        reader.feed,
        reader.account,
        mark,
        reader.sites,
        reader.channels,
        reader.adapter,
        limit,
    )
    return [Given(row["id"], row["type"], row["event"], row["forgotten"]) for row in rows]


async def heads(db: DbReader, mark: int) -> list[tuple[str, str, int]]:
    """Feed, account and highest mark of everything after a mark."""
    rows = await db.fetch("select feed, account, max(id) as head from feed where id > $1 group by feed, account", mark)
    return [(row["feed"], row["account"], row["head"]) for row in rows]


async def forget_old(tx: Connection, limit: int) -> int:
    """Delete up to so many rows that are older than they are kept, and remember up to which mark; returns how many."""
    count: int = await tx.fetchval(
        "with old as (select id from feed where created_at < now() - make_interval(days => $1)"
        " order by created_at limit $2),"
        " gone as (delete from feed f using old where f.id = old.id returning f.feed, f.account, f.id),"
        " marked as (insert into feed_forgotten (feed, account, mark)"
        " select feed, account, max(id) from gone group by feed, account order by feed, account"
        " on conflict (feed, account) do update set mark = greatest(feed_forgotten.mark, excluded.mark))"
        " select count(*) from gone",
        DAYS_KEPT,
        limit,
    )
    return count
