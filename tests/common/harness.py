"""What the tests of libs/common share: small events, a consumer that applies them to a table, and waiting."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from kefu_common.events.envelope import Event, EventData
from kefu_common.ids import new_id
from kefu_common.kafka.batch import Received
from kefu_common.kafka.consumer import BatchConsumer, Source
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import INTERACTIONS, dead_letters_of
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Database
from kefu_common.settings import DatabaseSettings
from tests.conftest import World

SERVICE = "reporting"
TOPIC = INTERACTIONS.name


class Ticked(EventData):
    """The events of these tests: a number."""

    n: int


TYPE = "kefu.test.ticked"
MODELS = {TYPE: Ticked}


def ticked(n: int, key: str = "k", id: UUID | None = None, traceparent: str | None = None) -> Event[Ticked]:
    """An event whose subject is its record's key."""
    at = datetime.now(UTC)
    return Event(id or new_id(), TYPE, "/sites/shop", key, at, "acme", Ticked(n=n), traceparent=traceparent)


async def eventually(holds: Callable[[], Awaitable[bool] | bool], within_s: float = 15.0) -> None:
    """Wait until it holds; fails when the time is over."""
    until = time.monotonic() + within_s
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < until, "did not happen in time"
        await asyncio.sleep(0.03)


class Bench:
    """A world with one schema's pool, a producer, and the table `applied`."""

    def __init__(self, world: World, dsn: str | None = None) -> None:
        self.world = world
        self.dsn = dsn or world.dsns[SERVICE]
        self.db = Database(self.dsn, 10, "bench")
        self.producer = EventProducer(world.kafka, "bench")
        self.consumers: list[Consuming] = []

    async def __aenter__(self) -> Self:
        await self.db.start()
        await self.producer.start()
        await self.db.pool.execute(
            "create table if not exists applied (id bigint generated always as identity primary key,"
            " key text not null, n integer not null, event uuid not null, by text not null)"
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for consuming in self.consumers:
            await consuming.consumer.stop()
        await self.producer.stop()
        await self.db.stop()

    def consuming(self, **options: Any) -> "Consuming":
        """A consumer that is stopped with the bench."""
        made = Consuming(self, **options)
        self.consumers.append(made)
        return made

    async def post(self, *events: Event[Ticked], headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Write events, in order per key."""
        producer = AIOKafkaProducer(bootstrap_servers=self.world.kafka, linger_ms=5)
        await producer.start()
        topic = self.world.prefix + TOPIC
        try:
            sent = [
                await producer.send(topic, e.to_bytes(), key=e.subject.encode(), headers=list(headers)) for e in events
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def post_raw(self, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        """Write anything at all."""
        producer = AIOKafkaProducer(bootstrap_servers=self.world.kafka, max_request_size=4 * 2**20)
        await producer.start()
        try:
            await producer.send_and_wait(self.world.prefix + TOPIC, value, key=key, headers=headers)
        finally:
            await producer.stop()

    async def applied(self, key: str | None = None) -> list[int]:
        """The numbers that took effect, in the order in which they did."""
        rows = await self.db.pool.fetch("select n from applied where $1::text is null or key = $1 order by id", key)
        return [row["n"] for row in rows]

    async def letters(self) -> "list[ConsumerRecord[Any, Any]]":
        """All dead letters, in order per key."""
        return await read_all(self.world.kafka, self.world.prefix + dead_letters_of(SERVICE).name)

    async def reasons(self) -> list[str]:
        """Why the letters were written."""
        return [dict(letter.headers)["kefu-reason"].decode() for letter in await self.letters()]

    async def committed(self, consumer: BatchConsumer[Ticked]) -> int:
        """The sum of the group's committed offsets."""
        reading = consumer._consumer()
        committed = [await reading.committed(tp) or 0 for tp in reading.assignment()]
        return sum(committed)

    def settings(self) -> DatabaseSettings:
        """What the commands read from the environment."""
        return DatabaseSettings.model_validate(
            {"kafka": self.world.kafka, "topic_prefix": self.world.prefix, "postgres": self.dsn}
        )


class Consuming:
    """A consumer of `Bench`'s topic. `fails` says which events raise; `takes_s` makes its transactions long."""

    def __init__(
        self,
        bench: Bench,
        *,
        slot: str = "0",
        batch_size: int = 500,
        fails: Callable[[Received[Ticked]], Exception | None] = lambda _r: None,
        bootstrap: str | None = None,
        takes_s: float = 0,
    ) -> None:
        self.bench = bench
        self.slot = slot
        self.fails = fails
        self.takes_s = takes_s
        self.tries: Counter[int] = Counter()
        self.tries_alone: Counter[int] = Counter()
        self.broken: list[BaseException] = []
        self.consumer: BatchConsumer[Ticked] = BatchConsumer(
            SERVICE,
            Source(INTERACTIONS, MODELS, self.apply),
            bench.db,
            bench.producer,
            bootstrap=bootstrap or bench.world.kafka,
            prefix=bench.world.prefix,
            slot=slot,
            batch_size=batch_size,
            on_broken=self.broken.append,
        )

    async def apply(self, batch: Sequence[Received[Ticked]]) -> None:
        """Once each, with the inbox, in one transaction."""
        for received in batch:
            self.tries[received.event.data.n] += 1
            self.tries_alone[received.event.data.n] += len(batch) == 1
        async with self.bench.db.transaction() as tx:
            sifted = await inbox.keep_new(tx, batch)
            if self.takes_s:
                await tx.execute("select pg_sleep($1)", self.takes_s)
            for received in sifted.fresh:
                if (error := self.fails(received)) is not None:
                    raise error
            await tx.executemany(
                "insert into applied (key, n, event, by) values ($1, $2, $3, $4)",
                [(r.record.key, r.event.data.n, r.event.id, self.slot) for r in sifted.fresh],
            )


async def read_all(kafka: str, topic: str) -> "list[ConsumerRecord[Any, Any]]":
    """Everything on a topic now."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 2**20,
    )
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord[Any, Any]] = []
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def backends(dsn: str, application: str) -> int:
    """How many connections of that name there are."""
    connection = await asyncpg.connect(dsn)
    try:
        count: int = await connection.fetchval(
            "select count(*) from pg_stat_activity where application_name = $1", application
        )
        return count
    finally:
        await connection.close()
