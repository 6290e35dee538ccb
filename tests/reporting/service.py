"""Reporting in a test: who publishes what it reads, and who asks for its reports."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from kefu_common.events.directory import DirectoryEntry, Kind
from kefu_common.events.envelope import Event
from kefu_common.http.auth import hash_key
from kefu_common.ids import new_id
from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_common.kafka.topics import DIRECTORY, TICKETS, dead_letters_of
from kefu_common.settings import DatabaseSettings
from kefu_reporting.app import create
from kefu_reporting.domain.counting import TicketEvent
from tests.conftest import World
from tests.reporting.builders import OPENED_AT

DEADLINE_S = 30.0


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition; fails when it does not come true within `DEADLINE_S`."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():  # noqa: ASYNC110 - another process has no event for us
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S} s: {what}") from None


@dataclass
class Client:
    """Somebody who asks for reports with one key."""

    http: httpx.AsyncClient
    headers: dict[str, str]

    async def get(self, path: str = "/v1/reports/daily", **parameters: str) -> httpx.Response:
        return await self.http.get(path, params=parameters, headers=self.headers)

    async def daily(self, **parameters: str) -> dict[str, Any]:
        answer = await self.get(date="2026-11-23", **parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


@dataclass
class Service:
    """The service and what is around it."""

    world: World
    producer: EventProducer
    http: httpx.AsyncClient | None = None
    """Answered by the service while it runs."""
    version: int = 0

    async def publish(self, events: Iterable[TicketEvent]) -> None:
        """Publish ticket events as routing does: keyed by ticket."""
        await self.publish_bytes((event.subject, event.to_bytes()) for event in events)

    async def publish_bytes(self, records: Iterable[tuple[str, bytes]]) -> None:
        topic = self.world.prefix + TICKETS.name
        await self.producer.send([Outgoing(topic, key.encode(), value) for key, value in records], 10)

    async def know(self, account: str, kind: Kind, id: str, **body: Any) -> None:
        """Put an object into the directory."""
        self.version += 1
        entry = DirectoryEntry(kind=kind, object_id=id, version=self.version, body={"id": id, **body})
        key = f"{account}/{kind}/{id}"
        event = Event(new_id(), "kefu.directory.changed", "/directory", key, OPENED_AT, account, entry)
        await self.producer.send([Outgoing(self.world.prefix + DIRECTORY.name, key.encode(), event.to_bytes())], 10)

    async def know_key(self, account: str, id: str, scopes: list[str], sites: list[str] | None = None) -> None:
        """Put an API key into the directory, whose secret is `{account}-{id}`."""
        await self.know(account, "key", id, scopes=scopes, sites=sites, hash=hash_key(f"{account}-{id}"))

    def client(self, account: str = "acme", key: str = "reader") -> Client:
        """Somebody with that key. Only while the service is running."""
        assert self.http is not None
        return Client(self.http, {"authorization": f"Bearer {account}-{key}"})

    @asynccontextmanager
    async def running(self, batch_size: int = 500) -> AsyncIterator[None]:
        """The service, from ready to stopped."""
        world = self.world
        dsn = SecretStr(world.dsns["reporting"])
        settings = DatabaseSettings(kafka=world.kafka, topic_prefix=world.prefix, postgres=dsn, batch_size=batch_size)
        app = create(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://r") as http,
        ):
            self.http = http
            await until(self._is_ready, "ready")
            yield
        self.http = None

    async def until_all_read(self) -> None:
        """Wait until the service has committed every offset of the topic: all that was published is applied."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.world.kafka)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.world.kafka)
        await admin.start()
        await consumer.start()
        group = f"{self.world.prefix}kefu.reporting.tickets.v1"
        partitions = [TopicPartition(self.world.prefix + TICKETS.name, p) for p in range(3)]

        async def all_read() -> bool:
            ends = await consumer.end_offsets(partitions)
            committed = await admin.list_consumer_group_offsets(group)
            return all(not end or (tp in committed and committed[tp].offset == end) for tp, end in ends.items())

        try:
            await until(all_read, "all ticket events read")
        finally:
            await consumer.stop()
            await admin.close()

    async def dead_letters(self) -> list["ConsumerRecord[bytes, bytes]"]:
        """All that reporting has set aside."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.world.kafka)
        await consumer.start()
        try:
            partitions = [TopicPartition(self.world.prefix + dead_letters_of("reporting").name, p) for p in range(3)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            expected = sum((await consumer.end_offsets(partitions)).values())
            found: list[ConsumerRecord[bytes, bytes]] = []
            while len(found) < expected:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def _is_ready(self) -> bool:
        assert self.http is not None
        return (await self.http.get("/readyz")).status_code == 200
