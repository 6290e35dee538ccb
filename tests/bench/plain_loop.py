"""The yardsticks of (b) and (f): loops that consume the same batches and write, but decide nothing.

`replay` writes what routing wrote: the same rows by the same bulk statements in the same transactions, and relays the
same outbox. As in routing, batches, assignments and the relay run beside each other on connections of one pool.
`share` does so beside other loops, each with its share of the partitions and of the outbox, until it is killed: as
long as one of them still writes, the others relay.
`insert` commits one insert per batch, and that is all.
"""

import asyncio
import json
import pickle
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import environ
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from kefu_common.ids import new_id
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import INTERACTIONS
from kefu_common.postgres.database import Database
from kefu_common.postgres.relay import Relay
from tests.bench.figures import myself
from tests.bench.record_routing import Transaction

T = TypeVar("T")
PREFIX = environ.get("KEFU_TOPIC_PREFIX", "")


@dataclass(frozen=True)
class Share:
    """Which of how many loops this is, and how many records there will be for all of them together."""

    number: int
    loops: int
    records: int


ALONE = Share(0, 1, sys.maxsize)


class Batches:
    """The topic in batches of wanted sizes; offsets are committed after each."""

    def __init__(self, share: Share = ALONE) -> None:
        self._share = share
        self._all = [TopicPartition(PREFIX + INTERACTIONS.name, p) for p in range(INTERACTIONS.partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=environ["KEFU_KAFKA"],
            group_id=f"{PREFIX}plain",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )

    async def start(self) -> None:
        """Take the partitions of the share."""
        await self._consumer.start()
        self._consumer.assign([p for p in self._all if p.partition % self._share.loops == self._share.number])

    async def take(self, size: int) -> int:
        """Read so many records, or what is left of the share."""
        found = 0
        while found < size:
            batch = await self._consumer.getmany(timeout_ms=200, max_records=size - found)
            if not batch and await self._is_exhausted():
                break
            found += sum(len(records) for records in batch.values())
        return found

    async def _is_exhausted(self) -> bool:
        ends = await self._consumer.end_offsets(self._all)
        if sum(ends.values()) < self._share.records:
            return False
        return all([await self._consumer.position(p) >= ends[p] for p in self._consumer.assignment()])

    async def commit(self) -> None:
        """Commit the offsets."""
        await self._consumer.commit()

    async def stop(self) -> None:
        """Leave."""
        await self._consumer.stop()


class Replay:
    """Writes what was recorded: batches in one task, assignments in another, each after the batch it followed."""

    def __init__(self, db: Database, relay: Relay, transactions: Sequence[Transaction]) -> None:
        self._db = db
        self._relay = relay
        self._batches = [t for t in transactions if t.batch]
        self._others: list[tuple[int, Transaction]] = []
        """With the number of batches that were committed before it."""
        before = 0
        for transaction in transactions:
            if transaction.batch:
                before += 1
            else:
                self._others.append((before, transaction))
        self._written = 0
        self._progress = asyncio.Condition()

    async def read(self, topic: Batches) -> None:
        """The batches, as many records each as routing took."""
        for transaction in self._batches:
            await topic.take(transaction.batch)
            await self._write(transaction)
            await topic.commit()
            async with self._progress:
                self._written += 1
                self._progress.notify_all()

    async def assign(self) -> None:
        """All other transactions."""
        for needed, transaction in self._others:
            async with self._progress:
                await self._progress.wait_for(partial(self._has_written, needed))
            await self._write(transaction)

    def _has_written(self, batches: int) -> bool:
        return self._written >= batches

    async def _write(self, transaction: Transaction) -> None:
        # Two loops that write the same agents' rows may stand in each other's way; the one that is told so repeats.
        while not await self._is_written(transaction):
            pass
        self._relay.wake()

    async def _is_written(self, transaction: Transaction) -> bool:
        try:
            async with self._db.transaction() as tx:
                for statement in transaction.statements:
                    run = tx.execute if statement.method == "execute" else tx.fetch
                    await run(statement.sql, *statement.arguments)
        except asyncpg.DeadlockDetectedError:
            return False
        return True


async def replay(db: Database, transactions: Sequence[Transaction], share: Share = ALONE) -> None:
    """Write all, and relay until the outbox is empty; one of several loops relays on until it is killed."""
    producer = EventProducer(environ["KEFU_KAFKA"], f"kefu.bench.plain.{share.number}")
    await producer.start()
    relay = Relay(db, producer, str(share.number), PREFIX)
    topic = Batches(share)
    await topic.start()
    relaying = asyncio.create_task(relay.run())
    loop = Replay(db, relay, transactions)
    await asyncio.gather(loop.read(topic), loop.assign())
    if share.loops > 1:
        await relaying
    while await db.pool.fetchval("select exists (select from outbox)"):  # noqa: ASYNC110 - Postgres has no event for it
        await asyncio.sleep(0.05)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await topic.stop()
    await producer.stop()


async def insert(db: Database, total: int, size: int) -> float:
    """One insert of the batch's ids per batch; seconds from the first read."""
    batches = Batches()
    await batches.start()
    started = time.perf_counter()
    for first in range(0, total, size):
        count = await batches.take(min(size, total - first))
        ids: list[UUID] = [new_id() for _ in range(count)]
        async with db.transaction() as tx:
            await tx.execute(
                "insert into inbox (event, body_hash) select * from unnest($1::uuid[], $2::bytea[])",
                ids,
                [i.bytes for i in ids],
            )
        await batches.commit()
    seconds = time.perf_counter() - started
    await batches.stop()
    return seconds


async def _with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    db = Database(environ["KEFU_POSTGRES"], 10, "kefu-bench")
    await db.start()
    try:
        return await work(db)
    finally:
        await db.stop()


def main() -> None:
    """`replay FILE` writes what was recorded, `insert TOTAL SIZE` tells its `seconds`; both print a JSON object.

    `share FILE NUMBER LOOPS RECORDS` writes what was recorded of one of several processes.
    """
    match sys.argv[1:]:
        case ["replay", file]:
            transactions = pickle.loads(Path(file).read_bytes())
            uvloop.run(_with_database(lambda db: replay(db, transactions)))
            print(json.dumps({"process": myself("loop-same-rows")}))
        case ["share", file, number, loops, records]:
            transactions = pickle.loads(Path(file).read_bytes())
            share = Share(int(number), int(loops), int(records))
            uvloop.run(_with_database(lambda db: replay(db, transactions, share)))
        case ["insert", total, size]:
            seconds = uvloop.run(_with_database(lambda db: insert(db, int(total), int(size))))
            print(json.dumps({"seconds": seconds, "process": myself("loop-one-insert")}))
        case _:
            sys.exit(main.__doc__)


if __name__ == "__main__":
    main()
