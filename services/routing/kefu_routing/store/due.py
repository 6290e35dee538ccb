"""What is due: offers that ran out, waits that are over, answers that are too old."""

from datetime import datetime
from uuid import UUID

from kefu_common.kafka.topics import INTERACTIONS
from kefu_common.postgres.database import Connection, Reader

_LIMIT = 500


async def offers(pool: Reader, now: datetime, read_until: dict[int, datetime]) -> dict[UUID, tuple[str, str]]:
    """Tickets whose offer ran out, and to whom (account, agent) they were offered.

    A call's counts only where its partition was read up to the offer's end.
    """
    rows = await pool.fetch(
        "select o.ticket, o.account, o.agent from offers o"
        " left join unnest($2::smallint[], $3::timestamptz[]) k (partition, until)"
        " using (partition) where o.status = 'open' and o.expires_at <= $1"
        " and (o.channel <> 'call' or k.until >= o.expires_at) order by o.expires_at limit $4",
        now,
        list(read_until),
        list(read_until.values()),
        _LIMIT,
    )
    return {r["ticket"]: (r["account"], r["agent"]) for r in rows}


async def waits(pool: Reader, now: datetime) -> list[UUID]:
    """Tickets whose longest wait is over."""
    rows = await pool.fetch("select id from tickets where status = 'queued' and give_up_at <= $1 limit $2", now, _LIMIT)
    return [r["id"] for r in rows]


async def steps(pool: Reader, now: datetime) -> list[UUID]:
    """Tickets whose next overflow step has come."""
    rows = await pool.fetch("select id from tickets where status = 'queued' and step_at <= $1 limit $2", now, _LIMIT)
    return [r["id"] for r in rows]


async def reassignments(pool: Reader, now: datetime) -> list[UUID]:
    """Tickets that go to another agent, because the client of whoever has them in hand is gone for too long."""
    rows = await pool.fetch(
        "select id from tickets where status = 'active' and reassign_at <= $1 limit $2", now, _LIMIT
    )
    return [r["id"] for r in rows]


async def stuck_in_hand(pool: Reader, after_s: int) -> dict[UUID, tuple[str, str]]:
    """Tickets of calls and chats whose later events were set aside so long ago, and who (account, agent) holds them."""
    rows = await pool.fetch(
        # A key is account/interaction, and no account has a slash; taken apart, so that an index serves.
        "select distinct t.id, t.account, t.holder from set_aside_events e"
        " join interactions i on i.account = split_part(e.key, '/', 1)"
        " and i.id = substr(e.key, strpos(e.key, '/') + 1) join tickets t on t.id = i.ticket"
        " where e.topic = $1 and e.since < now() - make_interval(secs => $2)"
        " and t.status = 'active' and t.live and t.holder is not null limit $3",
        INTERACTIONS.name,
        after_s,
        _LIMIT,
    )
    return {r["id"]: (r["account"], r["holder"]) for r in rows}


async def forget_first_answers(tx: Connection) -> None:
    """Answers of commands are kept for 24 h."""
    await tx.execute("delete from first_answers where created_at < now() - interval '24 hours'")
