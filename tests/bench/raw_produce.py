"""The yardstick of (e)'s arrays: the records that intake would write, by aiokafka alone, a hundred at a time."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from os import environ

import uvloop
from aiokafka import AIOKafkaProducer

from kefu_intake.domain.forms import read_form
from kefu_intake.domain.stamping import record_key, stamp
from tests.bench.account import ACCOUNT, a_run, chat_form

TOPIC = environ.get("KEFU_TOPIC_PREFIX", "") + "kefu.interactions.v1"
ARRAY = 100
BATCH_BYTES = 256 * 1024
"""As intake's producer has it."""


async def produce(arrays_at_once: int, seconds: float) -> float:
    """Records a second, each confirmed by Kafka."""
    run, at = a_run(), datetime.now(UTC)
    events = [stamp(read_form("chats", chat_form(run, n, at)), ACCOUNT, "bench", "CN", None) for n in range(20 * ARRAY)]
    records = [(record_key(event), event.to_bytes()) for event in events]
    producer = AIOKafkaProducer(
        bootstrap_servers=environ["KEFU_KAFKA"],
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
    )
    await producer.start()
    count, started = 0, time.perf_counter()

    async def one_after_the_other(first: int) -> None:
        nonlocal count
        place = first * ARRAY
        while time.perf_counter() - started < seconds:
            array = [records[(place + n) % len(records)] for n in range(ARRAY)]
            place += ARRAY
            await asyncio.gather(*[await producer.send(TOPIC, value=value, key=key) for key, value in array])
            count += ARRAY

    await asyncio.gather(*(one_after_the_other(n) for n in range(arrays_at_once)))
    took = time.perf_counter() - started
    await producer.stop()
    return count / took


def main() -> None:
    """ARRAYS_AT_ONCE SECONDS: prints a JSON object."""
    at_once, seconds = int(sys.argv[1]), float(sys.argv[2])
    print(json.dumps({"rate": uvloop.run(produce(at_once, seconds))}))


if __name__ == "__main__":
    main()
