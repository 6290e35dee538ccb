"""The load of (c): chats posted at an even rate, and the moment at which each one's offer is seen on Kafka.

One process and one clock: the latency of a chat runs from its 202 to the record of its `ticket.offered`.
"""

import asyncio
import json
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from kefu_common.kafka.topics import TICKETS
from tests.bench.account import KEY, a_run, chat_form
from tests.bench.figures import myself
from tests.bench.http_posts import Connection, Requests, connect
from tests.bench.lag import lag

CONNECTIONS = 64
_DRAIN_S = 20.0
_TICK_S = 0.002


class Load:
    """An open loop: whether it is answered or not, the next chat is posted when it is due."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._seconds = seconds
        self._requests = Requests("/v1/chats", KEY)
        self._run = a_run()
        self._idle: deque[Connection] = deque()
        self._under_way: dict[Connection, datetime] = {}
        self._posted = 0
        self.refused = 0
        # A chat is known again by when it was opened: that is public, and each has a microsecond of its own.
        self.accepted: dict[datetime, float] = {}
        self.offered: dict[datetime, float] = {}

    async def run(self, port: int, kafka: str) -> dict[str, Any]:
        """Post for the time, wait for the last offers, and tell what was seen."""
        consumer = await _at_the_end(kafka)
        watching = asyncio.create_task(self._watch(consumer))
        self._idle.extend(await connect(port, CONNECTIONS, self._answered))
        started = time.perf_counter()
        await self._post_all(started)
        posted_s = time.perf_counter() - started
        accepted, offered = len(self.accepted), len(self.offered)
        behind = await lag(kafka)
        await self._drain()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await consumer.stop()
        latencies = sorted(self.offered[at] - done for at, done in self.accepted.items() if at in self.offered)
        return {
            "posted": self._posted,
            "posted_per_s": self._posted / posted_s,
            "refused": self.refused,
            "behind": max(0, accepted - offered),
            "lag": behind,
            "offered_per_s": offered / posted_s,
            "unoffered": len(self.accepted) - len(latencies),
            "process": myself("load"),
            "p50_ms": _percentile(latencies, 0.5) * 1000,
            "p99_ms": _percentile(latencies, 0.99) * 1000,
        }

    async def _post_all(self, started: float) -> None:
        begin = datetime.now(UTC)
        while (passed := time.perf_counter() - started) < self._seconds:
            while self._posted < passed * self._rate and self._idle:
                self._post(self._idle.popleft(), begin + timedelta(seconds=passed))
            await asyncio.sleep(_TICK_S)

    def _post(self, connection: Connection, at: datetime) -> None:
        self._posted += 1
        # The number makes the microsecond unique among chats that are due at the same moment.
        at = at.replace(microsecond=0) + timedelta(microseconds=self._posted % 1_000_000)
        self._under_way[connection] = at
        connection.send(self._requests.request(self._posted, chat_form(self._run, self._posted, at)))

    def _answered(self, connection: Connection, status: int) -> None:
        at = self._under_way.pop(connection)
        if status == 202:
            self.accepted[at] = time.perf_counter()
        else:
            self.refused += 1
        self._idle.append(connection)

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                now = time.perf_counter()
                for record in records:
                    if b'"kefu.ticket.offered"' in record.value:
                        at = datetime.fromisoformat(json.loads(record.value)["data"]["opened_at"])
                        self.offered.setdefault(at, now)

    async def _drain(self) -> None:
        deadline = time.perf_counter() + _DRAIN_S
        while time.perf_counter() < deadline:
            if not self._under_way and len(self.offered) >= len(self.accepted):
                return
            await asyncio.sleep(0.05)


async def _at_the_end(kafka: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, fetch_max_wait_ms=100)
    await consumer.start()
    consumer.assign([TopicPartition(TICKETS.name, p) for p in range(TICKETS.partitions)])
    await consumer.seek_to_end()
    for place in consumer.assignment():
        await consumer.position(place)
    return consumer


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


def main() -> None:
    """PORT KAFKA RATE SECONDS: prints a JSON object."""
    port, kafka, rate, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(Load(float(rate), float(seconds)).run(int(port), kafka))))


if __name__ == "__main__":
    main()
