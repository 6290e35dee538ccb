"""The places of those who wait, and what they were told of them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from kefu_common.events.words import Channel
from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.queue import HAS_TO_WAIT, TOLD_EVERY, Place, Told
from kefu_routing.store.queues import IN_TURN
from kefu_routing.store.tickets import COLUMNS, ticket_of


async def changed(pool: Reader, now: datetime, limit: int) -> dict[UUID, Place]:
    """The callers and visitors who may be told a place now: the first time, or since it changed; longest ago first."""
    rows = await pool.fetch(
        # What waits is found by the index that serves assignment, which holds nothing else.
        'with waiting as (select id, account, "group", channel, ready_at, row_number() over'
        f' (partition by account, "group", channel order by {IN_TURN}) as position from tickets'
        " where status = 'queued' and live and ready_at <= $1 and \"group\" is not null)"
        ' select w.id, w."group", w.position from waiting w left join places_told p on p.ticket = w.id'
        " where (p.ticket is null and w.ready_at <= case w.channel when 'chat' then $2::timestamptz else $3 end)"
        ' or ((p."group", p.position) <> (w."group", w.position)'
        " and p.told_at <= case w.channel when 'chat' then $4::timestamptz else $5 end)"
        " order by p.told_at nulls first, w.ready_at limit $6",
        now,
        now - HAS_TO_WAIT[Channel.CHAT],
        now - HAS_TO_WAIT[Channel.CALL],
        now - TOLD_EVERY[Channel.CHAT],
        now - TOLD_EVERY[Channel.CALL],
        limit,
    )
    return {row["id"]: Place(row["id"], row["group"], row["position"]) for row in rows}


async def lock(tx: Connection, ids: Collection[UUID]) -> dict[UUID, Ticket]:
    """Those of the tickets that still wait and that nobody else has locked: another process may be telling them."""
    rows = await tx.fetch(
        f"select {COLUMNS} from tickets where id = any($1::uuid[]) and status = 'queued' and live order by id"
        " for update skip locked",
        sorted(ids),
    )
    return {row["id"]: ticket_of(row) for row in rows}


async def told(tx: Connection, ids: Collection[UUID]) -> dict[UUID, Told]:
    """What these tickets, which are locked, were told last."""
    rows = await tx.fetch(
        'select ticket, "group", position, text, told_at from places_told where ticket = any($1::uuid[])', list(ids)
    )
    return {
        row["ticket"]: Told(Place(row["ticket"], row["group"], row["position"]), row["text"], row["told_at"])
        for row in rows
    }


async def save(tx: Connection, news: Sequence[Told]) -> None:
    """Remember what was told."""
    if not news:
        return
    await tx.execute(
        'insert into places_told (ticket, "group", position, text, told_at)'
        " select * from unnest($1::uuid[], $2::text[], $3::integer[], $4::text[], $5::timestamptz[])"
        ' on conflict (ticket) do update set "group" = excluded."group", position = excluded.position,'
        " text = excluded.text, told_at = excluded.told_at",
        [n.place.ticket for n in news],
        [n.place.group for n in news],
        [n.place.position for n in news],
        [n.text for n in news],
        [n.at for n in news],
    )


async def forget_old(tx: Connection) -> None:
    """Nobody waits for a day."""
    await tx.execute("delete from places_told where told_at < now() - interval '1 day'")
