"""Seeing from outside when the offers of a run are on the tickets' topic."""

import asyncio
import time
from datetime import UTC, datetime

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from kefu_common.kafka.topics import TICKETS
from tests.bench.servers import World

_EVENTS_OF_A_CHAT = 3  # opened, queued, offered
_OFFERED = b'"kefu.ticket.offered"'


async def seconds_until_all(world: World, count: int, within_s: float) -> float:
    """Wait until `count` chats are offered; seconds from the first batch's transaction to the last record's writing.

    Raises `RuntimeError`.
    """
    last = await last_offer(world, count, within_s)
    return (last - await _first_batch(world.dsn)).total_seconds()


async def last_offer(world: World, count: int, within_s: float) -> datetime:
    """Wait until `count` chats are offered; when the last record was written.

    Looks only at the topic's end meanwhile, so as not to compete with what is measured. Raises `RuntimeError`.
    """
    topic = world.prefix + TICKETS.name
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.kafka, enable_auto_commit=False, auto_offset_reset="earliest", check_crcs=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in range(TICKETS.partitions)]
        consumer.assign(places)
        await _wait_for_end(consumer, places, count * _EVENTS_OF_A_CHAT, within_s)
        offered, last = await _read(consumer, count * _EVENTS_OF_A_CHAT)
    finally:
        await consumer.stop()
    if offered != count:
        raise RuntimeError(f"{offered} of {count} chats were offered")
    return last


async def _wait_for_end(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], records: int, within_s: float
) -> None:
    deadline = time.monotonic() + within_s
    while (found := sum((await consumer.end_offsets(places)).values())) < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} of {records} ticket events within {within_s:g} s")
        await asyncio.sleep(0.1)


async def _read(consumer: AIOKafkaConsumer, records: int) -> tuple[int, datetime]:
    offered = read = last_ms = 0
    while read < records:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            read += len(batch)
            for record in batch:
                if _OFFERED in record.value:
                    offered += 1
                    last_ms = max(last_ms, record.timestamp)
    return offered, datetime.fromtimestamp(last_ms / 1000, UTC)


async def _first_batch(dsn: str) -> datetime:
    connection = await asyncpg.connect(dsn)
    try:
        first: datetime = await connection.fetchval("select min(seen_at) from inbox")
    finally:
        await connection.close()
    return first
