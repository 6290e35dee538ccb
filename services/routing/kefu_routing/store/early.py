"""Events that came before the start of their interaction."""

import base64
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from kefu_common.events.interactions import InteractionData
from kefu_common.kafka.batch import Received, Record
from kefu_common.postgres.database import Connection

KEPT = timedelta(hours=24)


async def keep(tx: Connection, events: Sequence[Received[InteractionData]]) -> None:
    """Keep them until the start comes."""
    if not events:
        return
    await tx.execute(
        'insert into early_events (event, account, interaction, at, topic, partition, "offset", timestamp_ms, key,'
        " value, headers) select * from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[],"
        " $6::integer[], $7::bigint[], $8::bigint[], $9::text[], $10::bytea[], $11::jsonb[]) on conflict do nothing",
        [e.event.id for e in events],
        [e.event.account for e in events],
        [e.event.subject for e in events],
        [e.event.time for e in events],
        [e.record.topic for e in events],
        [e.record.partition for e in events],
        [e.record.offset for e in events],
        [e.record.timestamp_ms for e in events],
        [e.record.key for e in events],
        [e.record.value for e in events],
        [{name: base64.b64encode(value).decode() for name, value in e.record.headers} for e in events],
    )


async def take(tx: Connection, places: Iterable[tuple[str, str]]) -> list[Record]:
    """Take out what waits for these interactions, in the order in which it happened."""
    wanted = sorted(set(places))
    if not wanted:
        return []
    rows = await tx.fetch(
        "delete from early_events e using unnest($1::text[], $2::text[]) k (account, interaction)"
        " where e.account = k.account and e.interaction = k.interaction returning e.*",
        [p[0] for p in wanted],
        [p[1] for p in wanted],
    )
    return [_record(row) for row in sorted(rows, key=lambda r: (r["at"], r["offset"]))]


async def take_stale(tx: Connection, limit: int = 500) -> dict[UUID, Record]:
    """Take out what waited longer than `KEPT`, by event id."""
    rows = await tx.fetch(
        "delete from early_events where event in (select event from early_events where received_at < now() - $1"
        "::interval order by received_at limit $2 for update skip locked) returning *",
        KEPT,
        limit,
    )
    return {row["event"]: _record(row) for row in rows}


def _record(row: asyncpg.Record) -> Record:
    headers = tuple((name, base64.b64decode(value)) for name, value in row["headers"].items())
    return Record(row["topic"], row["partition"], row["offset"], row["timestamp_ms"], row["key"], row["value"], headers)
