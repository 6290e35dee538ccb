"""What adapters were asked to do, and what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from kefu_common.events.outbound import CallRing
from kefu_common.postgres.database import Connection, Reader
from kefu_common.postgres.writes import Writes
from kefu_routing.domain.model import Instructed
from kefu_routing.domain.work import Asked
from kefu_routing.store import conversation

KEPT_DAYS = 8
"""An outcome is accepted for 7 days."""


def add(writes: Writes, asked: Sequence[Asked]) -> None:
    """Remember new ones."""
    if not asked:
        return
    writes.add(
        "insert into instructions (id, ticket, message, offer, expires_at) select * from"
        " unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[])",
        [a.event.id for a in asked],
        [a.event.data.ticket for a in asked],
        [a.message for a in asked],
        [a.event.data.offer if isinstance(a.event.data, CallRing) else None for a in asked],
        [a.event.data.expires_at for a in asked],
    )


async def load(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Instructed]:
    """Instructions by id, with the texts that they carry."""
    wanted = list(ids)
    if not wanted:
        return {}
    rows = await tx.fetch(
        "select id, ticket, message, offer from instructions where id = any($1::uuid[])",
        wanted,
    )
    messages = await conversation.by_id(tx, [row["message"] for row in rows if row["message"] is not None])
    return {row["id"]: Instructed(row["id"], row["ticket"], messages.get(row["message"]), row["offer"]) for row in rows}


async def save_outcomes(tx: Connection, outcomes: Mapping[UUID, str]) -> None:
    """Write what became of them."""
    if outcomes:
        await tx.execute(
            "update instructions i set outcome = k.outcome from unnest($1::uuid[], $2::text[]) k (id, outcome)"
            " where i.id = k.id",
            list(outcomes),
            list(outcomes.values()),
        )


async def unheard(pool: Reader, now: datetime, limit: int) -> dict[UUID, UUID]:
    """Texts of which nothing was heard in time: the ticket of each instruction."""
    rows = await pool.fetch(
        "select id, ticket from instructions where outcome is null and message is not null and expires_at <= $1"
        " order by expires_at limit $2",
        now,
        limit,
    )
    return {row["id"]: row["ticket"] for row in rows}


async def still_unheard(tx: Connection, ids: Iterable[UUID]) -> list[UUID]:
    """Which of these nothing was heard of by now. Their tickets are locked, as for every outcome."""
    rows = await tx.fetch("select id from instructions where id = any($1::uuid[]) and outcome is null", list(ids))
    return [row["id"] for row in rows]


async def forget_old(tx: Connection) -> None:
    """Delete what no outcome can name any more."""
    await tx.execute("delete from instructions where expires_at < now() - make_interval(days => $1)", KEPT_DAYS)
