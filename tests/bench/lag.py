"""How far Kefu's consumer groups are behind the ends of their topics."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient


async def lag(kafka: str) -> dict[str, int]:
    """Records that each consumer group has not committed yet, by group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    try:
        found = {}
        for group, *_ in await admin.list_consumer_groups():
            if group.startswith("kefu."):
                committed = await admin.list_consumer_group_offsets(group)
                ends = await consumer.end_offsets(list(committed))
                found[group] = sum(max(0, ends[place] - offset.offset) for place, offset in committed.items())
        return found
    finally:
        await consumer.stop()
        await admin.close()


async def until_caught_up(kafka: str, within_s: float) -> None:
    """Wait until nobody is behind, so that one run does not pay for the one before. Raises `RuntimeError`."""
    deadline = time.monotonic() + within_s
    while sum((behind := await lag(kafka)).values()) > 0:
        if time.monotonic() > deadline:
            raise RuntimeError(f"still behind after {within_s:g} s: {behind}")
        await asyncio.sleep(0.5)
