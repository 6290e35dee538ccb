"""The relay: publishes the outbox to Kafka, per key in order, and deletes what Kafka confirmed.

Several relays share the shards by leases. A holder that vanishes is replaced when its lease ends (10 s); one that
comes back in the same slot takes its shards again at once. A relay that was paused beyond its lease may repeat rows,
never lose or delete a stranger's: repeats are allowed on every topic.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress

import asyncpg
from opentelemetry.trace import SpanKind
from pydantic_core import from_json

from kefu_common.kafka.producer import EventProducer, NotConfirmed, Outgoing
from kefu_common.postgres.database import PASSING, Connection, Database, passes
from kefu_common.postgres.outbox import SHARDS, Row
from kefu_common.telemetry import logs, metrics, tracing
from kefu_common.waking import end, is_set_within, until_woken

log = logs.get(__name__)
_Ready = tuple[asyncpg.Record, Outgoing]
"""A row of the outbox, and the record that it becomes."""

LEASE_S = 10.0
_BATCH = 1000
_BATCH_BYTES = 4 * 1024 * 1024
_GATHER_S = 0.002
"""One commit is mostly followed by others at once; publishing them together costs a fraction."""
_DELETE_EVERY_S = 0.05
_DELETED_LATER = 5000
"""So many confirmed rows at most wait to be deleted while others are published."""
_VACUUM_AFTER = 5000
_STILL_THERE_S = 5.0
_LAST_S = 1.0
_AGAIN_S = 1.0

_SHARE = """
with me as (
    insert into outbox_relays (slot, seen_at) values ($1, now())
    on conflict (slot) do update set seen_at = now()
    returning slot
), alive as (
    select slot, row_number() over (order by slot) - 1 as rank, count(*) over () as relays
    from (select slot from outbox_relays where seen_at > now() - make_interval(secs => $2)
          union select slot from me) live
), share as (
    select s.shard from outbox_shards s, alive a where a.slot = $1 and s.shard % a.relays = a.rank
), released as (
    update outbox_shards set lease_until = '-infinity', holder = null
    where holder = $1 and shard not in (select shard from share)
), taken as (
    update outbox_shards set holder = $1, lease_until = now() + make_interval(secs => $2),
        fence = fence + case when holder = $1 and not $3 then 0 else 1 end
    where shard in (select shard from share) and (holder = $1 or lease_until < now())
    returning shard, fence
)
select shard, fence from taken
"""

_DELETE = """
delete from outbox o using outbox_shards s, unnest($1::smallint[], $2::bigint[]) mine (shard, fence)
where o.id = any($3::bigint[]) and s.shard = o.shard and mine.shard = s.shard and mine.fence = s.fence
"""

# As much as Kafka surely takes in the time that a send is given, by number, and by size, but one at least.
_NEXT = """
select id, topic, key, value, headers, created_at from (
    select *, sum(octet_length(value)) over (order by id) - octet_length(value) as bytes_before from outbox
    where shard = any($1::smallint[]) and id <> all($2::bigint[])
        and (topic, key) not in (select * from unnest($4::text[], $5::text[]))
    order by id limit $3
) oldest where bytes_before < $6 order by id
"""


def _attributes(row: asyncpg.Record) -> tracing.Attributes:
    """What a span says of a row; it is read for those alone that are sampled."""
    said = {"messaging.system": "kafka", "messaging.destination.name": row["topic"], "messaging.operation.type": "send"}
    try:
        event = from_json(row["value"])
        ticket = tracing.ticket_of(event["subject"], event.get("sequence"), event["data"].get("ticket"))
        return {**said, "kefu.account": str(event["account"]), **ticket}
    except (ValueError, KeyError, TypeError, AttributeError):
        # A dead letter may hold anything.
        return said


class Relay:
    """Publishes one service's outbox. `wake` after a commit saves the wait for the next look."""

    def __init__(
        self,
        db: Database,
        producer: EventProducer,
        slot: str,
        prefix: str = "",
        look_s: float = 0.5,
        lease_s: float = LEASE_S,
    ) -> None:
        self._db = db
        self._producer = producer
        self._slot = slot
        self._prefix = prefix
        self._look_s = look_s
        self._lease_s = lease_s
        self._awake = asyncio.Event()
        self._confirmed: list[int] = []
        """Rows that Kafka has confirmed, still to be deleted."""
        self._has_confirmed = asyncio.Event()
        self._deleting = asyncio.Lock()
        self._listens = False
        self._fences: dict[int, int] = {}
        self._held_until = 0.0
        self._renew_at = 0.0
        self._first = True
        self._deleted = 0
        self._vacuuming: asyncio.Task[str] | None = None
        self._stuck: dict[tuple[str, str], float] = {}
        self.problem: str | None = None

    def wake(self) -> None:
        """Say that there are new rows."""
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled. Errors that pass are waited out; others end the task."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run())
                tasks.create_task(self._listen())
                tasks.create_task(self._delete_now_and_then())
        finally:
            if self._vacuuming is not None:
                await end([self._vacuuming])
            with suppress(asyncpg.PostgresError, *PASSING):
                async with asyncio.timeout(_LAST_S):
                    await self._delete_confirmed()

    async def _listen(self) -> None:
        """Be woken by what others write into our shards; where that fails, they are looked at more often."""
        while True:
            try:
                async with self._db.pool.acquire(timeout=10) as connection:
                    await self._listen_on(connection)
            except Exception as error:
                if not passes(error):
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _listen_on(self, connection: Connection) -> None:
        channel = f"{await connection.fetchval('select current_schema()')}.outbox"
        is_lost = asyncio.Event()
        connection.add_termination_listener(lambda *_: is_lost.set())
        await connection.add_listener(channel, self._hear)
        try:
            self._listens = True
            # What was written before.
            self._awake.set()
            while not await is_set_within(is_lost, _STILL_THERE_S):
                # Nothing is heard of one that was cut off without a word.
                await connection.execute("select 1")
        finally:
            self._listens = False
            # Of a connection that is lost nothing can be removed, and nothing need be.
            with suppress(*PASSING):
                await connection.remove_listener(channel, self._hear)

    def _hear(self, *_: object) -> None:
        self._awake.set()

    async def _run(self) -> None:
        wait_s = self._look_s
        while True:
            try:
                await self._hold_shards()
                more = await self._publish_some()
                self.problem = None
                # Nobody else's commits wake us while we do not listen.
                wait_s = self._look_s if self._listens or len(self._fences) == SHARDS else self._look_s / 25
            except (NotConfirmed, asyncpg.PostgresError, *PASSING) as error:
                if not (isinstance(error, NotConfirmed) or passes(error)):
                    raise
                self.problem = f"outbox: {type(error).__name__}"
                log.warning("relay_waits", error=type(error).__name__)
                more, wait_s = False, min(max(wait_s, 0.1) * 2, 5.0)
            if not more:
                await until_woken(self._awake, wait_s)
                await asyncio.sleep(_GATHER_S)
                # A commit of our own is heard of twice.
                self._awake.clear()

    async def _hold_shards(self) -> None:
        now = time.monotonic()
        if now < self._renew_at:
            return
        # Whoever is given one of our shards must not find there what was published.
        await self._delete_confirmed()
        rows = await self._db.pool.fetch(_SHARE, self._slot, self._lease_s, self._first)
        self._first = False
        self._fences = {row["shard"]: row["fence"] for row in rows}
        self._held_until, self._renew_at = now + self._lease_s, now + 0.3 * self._lease_s

    async def _publish_some(self) -> bool:
        """Publish up to a batch; whether there may be more."""
        if not self._fences:
            return False
        stuck = list(self._stuck)
        topics, keys = [topic for topic, _ in stuck], [key for _, key in stuck]
        if len(self._confirmed) > _DELETED_LATER:
            await self._delete_confirmed()
        shards, done = list(self._fences), self._confirmed
        found = await self._db.pool.fetch(_NEXT, shards, done, _BATCH, topics, keys, _BATCH_BYTES)
        oldest = min([*self._stuck.values(), *(row["created_at"].timestamp() for row in found[:1])], default=None)
        metrics.OUTBOX_AGE.set(0.0 if oldest is None else max(0.0, time.time() - oldest))
        if not found or time.monotonic() > self._held_until - 0.2 * self._lease_s:
            return False
        rows = self._without_stuck(found)
        confirmed = await self._send(rows)
        self._confirmed = [*self._confirmed, *confirmed]
        self._has_confirmed.set()
        self._clear_away(len(confirmed))
        if len(confirmed) < len(rows):
            raise NotConfirmed(f"{len(rows) - len(confirmed)} of {len(rows)} not confirmed in time")
        return len(found) == _BATCH or sum(len(row["value"]) for row in found) >= _BATCH_BYTES

    async def _delete_now_and_then(self) -> None:
        """Beside the publishing, which must not wait for it, and many rows at a time."""
        while True:
            await until_woken(self._has_confirmed, self._lease_s)
            pause_s = _DELETE_EVERY_S
            try:
                await self._delete_confirmed()
            except (asyncpg.PostgresError, *PASSING) as error:
                if not passes(error):
                    raise
                self._has_confirmed.set()
                pause_s = _AGAIN_S
            await asyncio.sleep(pause_s)

    async def _delete_confirmed(self) -> None:
        async with self._deleting:
            if done := self._confirmed:
                await self._db.pool.execute(_DELETE, list(self._fences), list(self._fences.values()), done)
                # What is looked for from now on is looked for without them.
                self._confirmed = self._confirmed[len(done) :]

    def _clear_away(self, deleted: int) -> None:
        """Rows come and go so fast here that the server's own vacuum comes too late: looks would grow ever slower.

        Beside the publishing, which must not wait for it.
        """
        self._deleted += deleted
        if self._vacuuming is not None and self._vacuuming.done():
            vacuuming, self._vacuuming = self._vacuuming, None
            # What it failed with is waited out, or ends this relay, as if it had happened here.
            vacuuming.result()
        if self._deleted >= _VACUUM_AFTER and self._vacuuming is None:
            self._deleted = 0
            vacuum = self._db.pool.execute("vacuum (skip_locked, truncate false) outbox")
            self._vacuuming = asyncio.create_task(vacuum, name="vacuum the outbox")

    def _without_stuck(self, rows: list[asyncpg.Record]) -> list[_Ready]:
        """Leave out a row that Kafka would never take, and what comes after it under the same key.

        `outbox.add` refuses such rows; one that gets here all the same must not stop everybody else's.
        """
        going: list[_Ready] = []
        for row in rows:
            place, record = (row["topic"], row["key"]), self._outgoing(row)
            if place in self._stuck:
                continue
            if record.size > record.at_most:
                self._stuck[place] = row["created_at"].timestamp()
                log.error("outbox_row_too_large", row=row["id"], hint="shorten or delete it by hand, then restart")
                continue
            going.append((row, record))
        return going

    async def _send(self, ready: list[_Ready]) -> list[int]:
        """Returns the rows that Kafka confirmed and that no unconfirmed one of their key comes before, by id."""
        for row, _ in ready:
            parent = (row["headers"] or {}).get("traceparent")
            if tracing.is_sampled(parent):
                span = tracing.start_span(f"publish {row['topic']}", SpanKind.PRODUCER, parent, _attributes(row))
                if span is not None:
                    span.end()
        results = await self._producer.confirm([record for _, record in ready], 10)
        late = set()
        confirmed: list[int] = []
        published: Counter[str] = Counter()
        for (row, _), is_confirmed in zip(ready, results, strict=True):
            place = (row["topic"], row["key"])
            if is_confirmed and place not in late:
                confirmed.append(row["id"])
                published[row["topic"]] += 1
            else:
                late.add(place)
        for topic, count in published.items():
            metrics.OUTBOX_PUBLISHED.labels(topic).inc(count)
        return confirmed

    def _outgoing(self, row: asyncpg.Record) -> Outgoing:
        return Row(row["topic"], row["key"], row["value"], row["headers"]).record(self._prefix)
