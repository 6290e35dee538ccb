"""The ticket events that count at present."""

from collections.abc import Collection, Set

import asyncpg

from kefu_common.postgres.database import Connection
from kefu_reporting.domain.counting import Cell, Counted, LogKey, Measure


async def load(tx: Connection, keys: Collection[LogKey]) -> set[Counted]:
    """All that counts for the tickets of these keys. The caller holds the tickets' locks."""
    tickets = {(key.account, key.ticket) for key in keys}
    rows = await tx.fetch(
        "select * from counted where (account, ticket) in (select * from unnest($1::text[], $2::uuid[]))",
        [account for account, _ in tickets],
        [ticket for _, ticket in tickets],
    )
    return {_counted(row) for row in rows}


async def replace(tx: Connection, before: Set[Counted], after: Set[Counted]) -> None:
    """Let `after` count instead of `before`."""
    gone, new = [c.key for c in before - after], list(after - before)
    if gone:
        await tx.execute(
            "delete from counted where (account, ticket, sequence) in"
            " (select * from unnest($1::text[], $2::uuid[], $3::int[]))",
            [key.account for key in gone],
            [key.ticket for key in gone],
            [key.sequence for key in gone],
        )
    if new:
        await _insert(tx, new)


async def _insert(tx: Connection, new: list[Counted]) -> None:
    cells = [c.cell for c in new]
    await tx.execute(
        "insert into counted"
        " (account, ticket, sequence, measure, day, site, channel, kind, category, group_id, agent, ms)"
        " select * from unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::date[], $6::text[], $7::text[],"
        " $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[])",
        [c.key.account for c in new],
        [c.key.ticket for c in new],
        [c.key.sequence for c in new],
        [c.measure for c in new],
        [cell.day for cell in cells],
        [cell.site for cell in cells],
        [cell.channel for cell in cells],
        [cell.kind for cell in cells],
        [cell.category for cell in cells],
        [cell.group for cell in cells],
        [cell.agent for cell in cells],
        [c.ms for c in new],
    )


def _counted(row: asyncpg.Record) -> Counted:
    cell = Cell(
        account=row["account"],
        day=row["day"],
        site=row["site"],
        channel=row["channel"],
        kind=row["kind"],
        category=row["category"],
        group=row["group_id"],
        agent=row["agent"],
    )
    key = LogKey(row["account"], row["ticket"], row["sequence"])
    return Counted(key, Measure(row["measure"]), cell, row["ms"])
