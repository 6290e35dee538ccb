"""The sums of the daily report."""

from collections.abc import Mapping
from typing import Final

from kefu_common.postgres.database import Connection
from kefu_reporting.domain.counting import Cell
from kefu_reporting.domain.daily import By, Filter, Sums

_COLUMN: Final[dict[By, str]] = {
    By.SITE: "site",
    By.GROUP: "group_id",
    By.CHANNEL: "channel",
    By.AGENT: "agent",
    By.CATEGORY: "category",
    By.KIND: "kind",
}
_CELL: Final = "account, day, site, channel, kind, category, group_id, agent"
_CELL_ARRAYS: Final = "$1::text[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]"
_SUMS: Final = ", ".join(Sums._fields)
_SUM_ARRAYS: Final = ", ".join(f"${n}::bigint[]" for n in range(9, 9 + len(Sums._fields)))


async def add(tx: Connection, change: Mapping[Cell, Sums]) -> None:
    """Add to each cell, which stays locked until the transaction ends; a cell in which nothing is left goes.

    Sorted, so that two transactions with the same cells wait for each other instead of dead-locking.
    """
    if not change:
        return
    cells = sorted(change)
    added = ", ".join(f"{field} = daily.{field} + excluded.{field}" for field in Sums._fields)
    await tx.execute(
        f"insert into daily ({_CELL}, {_SUMS}) select * from unnest({_CELL_ARRAYS}, {_SUM_ARRAYS})"
        f" on conflict ({_CELL}) do update set {added}",
        *_columns(cells),
        *zip(*(change[cell] for cell in cells), strict=True),
    )
    reduced = [cell for cell in cells if min(change[cell]) < 0]
    if reduced:
        # Otherwise the table would tell in which order the events came.
        nothing_left = " and ".join(f"{field} = 0" for field in Sums._fields)
        await tx.execute(
            f"delete from daily where ({_CELL}) in (select * from unnest({_CELL_ARRAYS})) and {nothing_left}",
            *_columns(reduced),
        )


async def read(db: Connection, wanted: Filter, by: By) -> dict[str, Sums]:
    """The sums of what matches, by the value of one dimension; '' where there is none."""
    summed = ", ".join(f"sum({field})::bigint as {field}" for field in Sums._fields)
    rows = await db.fetch(
        f"select {_COLUMN[by]} as value, {summed} from daily"
        " where account = $1 and day = $2 and ($3::text[] is null or site = any($3))"
        " and ($4::text is null or group_id = $4) and ($5::text is null or channel = $5)"
        f" and ($6::text is null or agent = $6) group by {_COLUMN[by]}",
        wanted.account,
        wanted.day,
        None if wanted.sites is None else sorted(wanted.sites),
        wanted.group,
        wanted.channel,
        wanted.agent,
    )
    return {row["value"]: Sums(*(row[field] for field in Sums._fields)) for row in rows}


def _columns(cells: list[Cell]) -> tuple[list[object], ...]:
    return (
        [cell.account for cell in cells],
        [cell.day for cell in cells],
        [cell.site for cell in cells],
        [cell.channel for cell in cells],
        [cell.kind for cell in cells],
        [cell.category for cell in cells],
        [cell.group for cell in cells],
        [cell.agent for cell in cells],
    )
