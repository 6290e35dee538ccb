"""The load of (f): agents with one call each, for whom somebody always waits.

One process and one clock: the latency of a decision runs from Kafka's confirmation of the `call.ended` that freed an
agent to the moment at which the agent's next `ticket.offered` is read.
"""

import asyncio
import json
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import partial
from os import environ
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import RecordMetadata

from kefu_common.events.envelope import Event
from kefu_common.events.interactions import CallAnswered, CallEnded, CallStarted, ContactClaim, InteractionData
from kefu_common.ids import new_id
from kefu_common.kafka.topics import INTERACTIONS, TICKETS
from tests.bench.account import ACCOUNT, AGENTS_PER_GROUP, GROUPS, SITE, category
from tests.bench.figures import myself

PREFIX = environ.get("KEFU_TOPIC_PREFIX", "")
WAITING_PER_GROUP = 20
_BATCH_BYTES = 256 * 1024
_CALLERS = 50_000
_FILL_WITHIN_S = 45.0
_TICK_S = 0.002


class Load:
    """Ends calls at an even rate, the longest ones first; each offer is answered at once, and one more call waits.

    An infinite rate ends each call as soon as it was answered: what comes through then is the peak.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._producer = AIOKafkaProducer(
            bootstrap_servers=environ["KEFU_KAFKA"],
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
        )
        self._started = 0
        self._last_start = datetime.now(UTC)
        # A call is known again by when it was opened: that is public, and each has a microsecond of its own.
        self._number_of: dict[datetime, int] = {}
        self._in_hand: deque[tuple[str, int]] = deque()
        self._freed_at: dict[str, float] = {}
        self._is_full = asyncio.Event()
        self._offered = 0
        self._latencies: list[float] = []

    async def run(self, warm_up_s: float, seconds: float) -> dict[str, Any]:
        """Give everybody a call, then end calls for the time; tell what was seen after the warm-up."""
        consumer = await _at_the_end()
        await self._producer.start()
        watching = asyncio.create_task(self._watch(consumer))
        for number in range(GROUPS * (AGENTS_PER_GROUP + WAITING_PER_GROUP)):
            await self._start_call(number)
        async with asyncio.timeout(_FILL_WITHIN_S):
            await self._is_full.wait()
        ending = asyncio.create_task(self._end_calls())
        await asyncio.sleep(warm_up_s)
        self._latencies.clear()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        took, latencies = time.perf_counter() - began, sorted(self._latencies)
        for task in (ending, watching):
            task.cancel()
        await asyncio.gather(ending, watching, return_exceptions=True)
        await consumer.stop()
        await self._producer.stop()
        return {
            "decisions": len(latencies),
            "per_s": len(latencies) / took,
            **{f"p{percent}_ms": _percentile(latencies, percent) * 1000 for percent in (50, 95, 99)},
            "longest_ms": _percentile(latencies, 100) * 1000,
            "process": myself("load"),
        }

    async def _end_calls(self) -> None:
        due = time.perf_counter()
        while True:
            while due <= time.perf_counter() and self._in_hand:
                due += 1 / self._rate
                agent, number = self._in_hand.popleft()
                sent = await self._write(number, "kefu.call.ended", CallEnded(cause="normal", duration_s=1.0))
                sent.add_done_callback(partial(self._freed, agent))
            if not self._in_hand:
                # Routing is behind; what could not be ended is not made up for.
                due = max(due, time.perf_counter())
            await asyncio.sleep(_TICK_S)

    def _freed(self, agent: str, _: "asyncio.Future[RecordMetadata]") -> None:
        self._freed_at[agent] = time.perf_counter()

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                now = time.perf_counter()
                for record in records:
                    if b'"kefu.ticket.offered"' in record.value:
                        await self._take(json.loads(record.value)["data"], now)

    async def _take(self, offer: dict[str, Any], now: float) -> None:
        agent, number = offer["agent"], self._number_of.pop(datetime.fromisoformat(offer["opened_at"]), None)
        if number is None:
            # Every topic may repeat a record.
            return
        if agent in self._freed_at:
            self._latencies.append(now - self._freed_at.pop(agent))
        self._offered += 1
        if self._offered == GROUPS * AGENTS_PER_GROUP:
            self._is_full.set()
        await self._write(number, "kefu.call.answered", CallAnswered(agent=agent))
        self._in_hand.append((agent, number))
        await self._start_call(number)

    async def _start_call(self, like: int) -> None:
        """One more call for the group of that one, by somebody who has called before."""
        number = self._started * GROUPS + like % GROUPS
        self._started += 1
        self._last_start = max(datetime.now(UTC), self._last_start + timedelta(microseconds=1))
        self._number_of[self._last_start] = number
        caller = f"+86139{number * 7919 % _CALLERS:08}"
        data = CallStarted(
            source="app/product-page", category=category(number), contact=ContactClaim(phone=caller), to="+8621000000"
        )
        await self._write(number, "kefu.call.started", data, self._last_start)

    async def _write(
        self, number: int, type: str, data: InteractionData, at: datetime | None = None
    ) -> "asyncio.Future[RecordMetadata]":
        interaction = f"call-{number:08}"
        event = Event(
            new_id(), type, f"/sites/{SITE}", interaction, at or datetime.now(UTC), ACCOUNT, data, adapter="bench"
        )
        key = f"{ACCOUNT}/{interaction}".encode()
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            PREFIX + INTERACTIONS.name, value=event.to_bytes(), key=key
        )
        return sent


async def _at_the_end() -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(bootstrap_servers=environ["KEFU_KAFKA"], enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(PREFIX + TICKETS.name, p) for p in range(TICKETS.partitions)])
    await consumer.seek_to_end()
    for place in consumer.assignment():
        await consumer.position(place)
    return consumer


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("inf")


async def _measure(rate: float, warm_up_s: float, seconds: float) -> dict[str, Any]:
    return await Load(rate).run(warm_up_s, seconds)


def main() -> None:
    """RATE WARM_UP_S SECONDS: prints a JSON object. RATE may be `inf`."""
    rate, warm_up_s, seconds = (float(argument) for argument in sys.argv[1:])
    print(json.dumps(uvloop.run(_measure(rate, warm_up_s, seconds))))


if __name__ == "__main__":
    main()
