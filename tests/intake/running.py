"""A running intake, its topics, and what one does to them."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from kefu_common.events.directory import Kind
from kefu_common.events.envelope import Event, read_event
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import INTERACTIONS
from tests.conftest import SEALING_KEY
from tests.intake.building import Json, body_of, directory_record

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True)
class Intake:
    """One process of the service, and a client that talks to it."""

    process: Process
    client: httpx.AsyncClient
    log: Path
    kafka: str
    prefix: str

    async def post(self, path: str, post: object, key: str = "secret") -> httpx.Response:
        """Post an event or an array to `/v1/<path>`."""
        return await self.post_bytes(path, body_of(post), {"Authorization": f"Bearer {key}"})

    async def post_bytes(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post a body as it is, as JSON unless the headers say otherwise."""
        return await self.client.post(
            f"/v1/{path}", content=body, headers={"Content-Type": "application/json"} | headers
        )

    async def set(self, kind: Kind, id: str, body: Json | None, version: int = 1, account: str = "acme") -> None:
        """Publish an object of the directory, as routing would."""
        producer = EventProducer(self.kafka, "tests")
        await producer.start()
        await producer.send([directory_record(self.prefix, account, kind, id, body, version)], 10)
        await producer.stop()

    async def records(self, interaction: str | None = None, account: str = "acme") -> list[Record]:
        """All that is on the topic now, or only what belongs to one interaction."""
        found = await read_all(self.kafka, self.prefix + INTERACTIONS.name)
        return [r for r in found if interaction is None or r.key == f"{account}/{interaction}".encode()]

    async def events(self, interaction: str) -> list[Event[InteractionData]]:
        """An interaction's events in order."""
        return [read_event(record.value, INTERACTION_MODELS) for record in await self.records(interaction)]

    def log_lines(self) -> list[Json]:
        """What the service has logged."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@asynccontextmanager
async def running_intake(
    kafka: str, prefix: str, log: Path, env: Mapping[str, str] | None = None, *, is_harmed: bool = False
) -> AsyncIterator[Intake]:
    """Start the service, and stop it at the end. It may not have logged an error, unless its Kafka is harmed."""
    port = free_port()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("kefu"),
            *("intake", "serve", "--port", str(port)),
            env={
                **os.environ,
                "KEFU_KAFKA": kafka,
                "KEFU_TOPIC_PREFIX": prefix,
                "KEFU_OPERATOR_KEY": "operator",
                "KEFU_OBJECTS": str(log.with_suffix(".objects")),
                "KEFU_SEALING_KEYS": SEALING_KEY,
                **(env or {}),
            },
            stderr=output,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            intake = Intake(process, client, log, kafka, prefix)
            await until(lambda: _is_alive(client), 20)
            yield intake
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await process.wait()
    assert code == 0
    errors = [line for line in intake.log_lines() if line["level"] not in ("info", "warning")]
    # aiokafka calls it an error when a broker is away, and leaves futures behind when it is given up.
    noise = ("aiokafka", "aiokafka.consumer.fetcher", "aiokafka.producer.sender", "asyncio") if is_harmed else ()
    unexpected = [line for line in errors if line.get("logger") not in noise]
    assert not unexpected, unexpected


async def _is_alive(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> float:
    """Wait until the condition holds; returns how long that took."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"not so within {within_s} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def read_all(kafka: str, topic: str) -> list[Record]:
    """All records that are on a topic now, in order per partition."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        assert partitions, topic
        ends = await consumer.end_offsets(partitions)
        found: list[Record] = []
        for tp in partitions:
            while await consumer.position(tp) < ends[tp]:
                for records in (await consumer.getmany(tp, timeout_ms=1000)).values():
                    found += records
        return found
    finally:
        await consumer.stop()
