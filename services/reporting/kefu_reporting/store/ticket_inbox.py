"""The inbox by (ticket, sequence): a ticket event takes effect once, whatever its id and order."""

from collections.abc import Collection, Iterable

from kefu_common.postgres.database import Connection
from kefu_reporting.domain.counting import LogKey


async def keep_new(tx: Connection, keys: Collection[LogKey]) -> set[LogKey]:
    """Record the keys and return those that were never recorded before.

    Locks the tickets until the transaction ends, so that nobody else counts them meanwhile: sorted, so that two
    transactions with the same tickets wait for each other instead of dead-locking.
    """
    wanted = set(keys)
    await tx.execute(
        "insert into tickets (account, ticket)"
        " select distinct account, ticket from unnest($1::text[], $2::uuid[]) as wanted (account, ticket)"
        " order by account, ticket on conflict do nothing",
        [key.account for key in wanted],
        [key.ticket for key in wanted],
    )
    rows = await tx.fetch(
        "with locked as materialized ("
        "  select account, ticket, seen from tickets where (account, ticket) in"
        "  (select * from unnest($1::text[], $2::uuid[])) order by account, ticket for update)"
        " select account, ticket, sequence"
        " from unnest($1::text[], $2::uuid[], $3::int[]) as wanted (account, ticket, sequence)"
        " join locked using (account, ticket) where not seen @> sequence",
        *_columns(wanted),
    )
    new = {LogKey(row["account"], row["ticket"], row["sequence"]) for row in rows}
    await tx.execute(
        "update tickets set seen = tickets.seen + new.seen from ("
        "  select account, ticket, range_agg(int4range(sequence, sequence, '[]')) as seen"
        "  from unnest($1::text[], $2::uuid[], $3::int[]) as n (account, ticket, sequence) group by account, ticket"
        " ) as new where tickets.account = new.account and tickets.ticket = new.ticket",
        *_columns(new),
    )
    return new


def _columns(keys: Iterable[LogKey]) -> tuple[list[str], list[object], list[int]]:
    listed = list(keys)
    return [k.account for k in listed], [k.ticket for k in listed], [k.sequence for k in listed]
