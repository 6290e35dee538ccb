"""An idempotent producer that knows whether Kafka confirms, and that is made anew when it broke.

Source: stack.md. One record that is too large, or any error that cannot be retried, makes all later sends of an
idempotent aiokafka producer fail while it looks alive; and a send has no delivery timeout of its own.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.structs import RecordMetadata

from kefu_common.kafka.topics import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from kefu_common.telemetry import logs
from kefu_common.waking import end

log = logs.get(__name__)

_ABANDON_WITHIN_S = 1.0
_BATCH_BYTES = 256 * 1024
"""What one request carries for one partition. The client's own 16 KiB would cut a large post into hundreds."""


@lru_cache(maxsize=20_000)
def _hash_of_key(key: bytes) -> int:
    """In plain Python it takes longer than the rest of a send; the events of a ticket or call follow each other."""
    hashed: int = murmur2(key)
    return hashed & 0x7FFFFFFF


def _partition_of(key: bytes | None, partitions: list[int], available: list[int]) -> int:
    """The same as every Kafka client's default."""
    if key is None:
        anywhere: int = DefaultPartitioner()(key, partitions, available)
        return anywhere
    return partitions[_hash_of_key(key) % len(partitions)]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. Headers are (name, bytes)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    at_most: int = MAX_RECORD_BYTES
    """What its topic takes."""

    @property
    def size(self) -> int:
        """Bytes of value, key and headers."""
        return len(self.value) + len(self.key or b"") + sum(len(n) + len(v) + 10 for n, v in self.headers)


class RecordTooLarge(Exception):
    """A record is over the topic's limit; it was not handed to Kafka."""

    def __init__(self, size: int, at_most: int) -> None:
        super().__init__(f"{size} bytes, at most {at_most}")
        self.size = size
        self.at_most = at_most


class NotConfirmed(Exception):
    """Kafka did not confirm in time: unknown, not failed. Send the same event again."""


class EventProducer:
    """Writes records with `acks=all`; every call returns only after Kafka confirmed, or says that it has not."""

    def __init__(self, bootstrap: str, client_id: str, linger_ms: int = 0) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._linger_ms = linger_ms
        self._producer: AIOKafkaProducer | None = None
        self._remaking: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._last_probe = 0.0

    async def start(self) -> None:
        """Connect. Raises `KafkaError` when no broker answers."""
        self._producer = await self._make()

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Flush what was accepted, as far as Kafka takes it within the time, and close."""
        if self._remaking is not None:
            await end([self._remaking])
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _stop(producer, timeout_s)

    @property
    def is_failing(self) -> bool:
        """Whether the last send was not confirmed and none has been since."""
        return self._failing_since is not None

    def may_try(self, every_s: float = 1.0) -> bool:
        """While failing: whether one more send may probe now. Earlier sends that get through also end the failure."""
        if self._failing_since is None:
            return True
        now = time.monotonic()
        if now - self._last_probe < every_s:
            return False
        self._last_probe = now
        return True

    async def answers(self, timeout_s: float) -> bool:
        """Whether a broker answers now; says nothing about whether it would confirm a record."""
        producer = self._producer
        if producer is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError):
            return False
        return True

    async def send(self, records: Sequence[Outgoing], timeout_s: float) -> None:
        """Write all records, in order per key, and wait until Kafka has confirmed each.

        Raises:
            RecordTooLarge: before anything was sent.
            NotConfirmed: some may have been written, some not.
        """
        if not all(await self.confirm(records, timeout_s)):
            raise NotConfirmed("not confirmed in time")

    async def confirm(self, records: Sequence[Outgoing], timeout_s: float) -> list[bool]:
        """Write all records, in order per key, and say of each whether Kafka has confirmed it in time.

        One that was not may have been written, or may be written later: send it again.

        Raises:
            RecordTooLarge: before anything was sent.
        """
        for record in records:
            if record.size > record.at_most:
                raise RecordTooLarge(record.size, record.at_most)
        pending: list[asyncio.Future[RecordMetadata]] = []
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    producer = await self._usable()
                    for r in records:
                        pending.append(await producer.send(r.topic, value=r.value, key=r.key, headers=list(r.headers)))
                except KafkaError as error:
                    self._fail(error, producer)
                await _settled(pending)
        except TimeoutError as error:
            self._fail(error, producer)
        results = [self._settle(future, producer) for future in pending]
        return results + [False] * (len(records) - len(results))

    def _settle(self, future: "asyncio.Future[RecordMetadata]", producer: AIOKafkaProducer | None) -> bool:
        if not future.done():
            future.add_done_callback(lambda late: self._settle_late(late, producer))
            return False
        if future.cancelled():
            return False
        error = future.exception()
        if error is not None:
            self._fail(error, producer)
            return False
        if self._failing_since is not None:
            log.info("kafka_confirms_again", after_s=round(time.monotonic() - self._failing_since, 1))
            self._failing_since = None
        return True

    def _settle_late(self, future: "asyncio.Future[RecordMetadata]", producer: AIOKafkaProducer | None) -> None:
        """What an old producer fails to write says nothing about the one that works now."""
        if self._producer is producer or (not future.cancelled() and future.exception() is None):
            self._settle(future, producer)
        elif not future.cancelled():
            future.exception()

    def _fail(self, error: BaseException, producer: AIOKafkaProducer | None) -> None:
        if self._failing_since is None:
            self._failing_since = self._last_probe = time.monotonic()
            log.warning("kafka_does_not_confirm", error=type(error).__name__)
        broken = isinstance(error, KafkaError) and not getattr(error, "retriable", False)
        if broken and producer is not None and self._producer is producer:
            self._begin_remaking()

    async def _usable(self) -> AIOKafkaProducer:
        producer = self._producer
        if producer is not None and not producer._closed and not _task_ended(producer):
            return producer
        # Shielded: whoever cannot wait any longer does not undo it for the others.
        await asyncio.shield(self._begin_remaking())
        if self._producer is None:
            raise KafkaConnectionError("no broker can be reached")
        return self._producer

    def _begin_remaking(self) -> "asyncio.Task[None]":
        if self._remaking is None or self._remaking.done():
            broken, self._producer = self._producer, None
            self._remaking = asyncio.create_task(self._remake(broken), name="remake the Kafka producer")
        return self._remaking

    async def _remake(self, broken: AIOKafkaProducer | None) -> None:
        log.warning("kafka_producer_remade", hint="an error that cannot be retried broke the old one")
        if broken is not None:
            await _stop(broken, 5)
        try:
            self._producer = await self._make()
        except (KafkaError, TimeoutError) as error:
            log.warning("kafka_unreachable", error=type(error).__name__)

    async def _make(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=self._linger_ms,
            max_batch_size=_BATCH_BYTES,
            partitioner=_partition_of,
            max_request_size=MAX_DEAD_LETTER_BYTES + 4096,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


async def _settled(pending: Sequence["asyncio.Future[RecordMetadata]"]) -> None:
    if len(pending) == 1:
        # The usual case, and half the price. Shielded: when the time is over, a late result still counts.
        with suppress(KafkaError):
            await asyncio.shield(pending[0])
    elif pending:
        # Unlike gather, wait leaves them alone too.
        await asyncio.wait(pending)


async def _stop(producer: AIOKafkaProducer, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except (KafkaError, TimeoutError, asyncio.CancelledError) as error:
        await _abandon(producer)
        if isinstance(error, asyncio.CancelledError):
            raise
        log.warning("kafka_producer_stop_failed", error=type(error).__name__)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End what a stop that was cut off leaves running: it would try its records again and again, for ever."""
    task = producer._sender.sender_task
    if task is not None:
        task.cancel()
        await asyncio.wait([task], timeout=_ABANDON_WITHIN_S)
        # A cancelled sender still waits for its requests, which hang as long as Kafka does; cancelled again it stops.
        task.cancel()
        await asyncio.wait([task], timeout=_ABANDON_WITHIN_S)
    producer._message_accumulator.fail_all(KafkaConnectionError("given up"))
    await asyncio.wait([asyncio.create_task(producer.client.close())], timeout=_ABANDON_WITHIN_S)


def _task_ended(producer: AIOKafkaProducer) -> bool:
    task = producer._sender.sender_task
    return task is None or task.done()
