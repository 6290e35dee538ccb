"""The batch consumer: at least once, in order per key, never blocked by one bad record.

FastStream reads and shuts down; everything that decides about loss is ours, because its defaults lose data
(stack.md): raw bytes in, one batch in flight, one commit of offsets after the transaction, bounded retries, dead
letters. The rules are in design.md, section 4.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import BaseModel

from kefu_common.kafka import reading
from kefu_common.kafka.applying import ATTEMPTS, IN_A_ROW, Apply, Applying, BrokenConsumer, Source
from kefu_common.kafka.batch import Received, Record
from kefu_common.kafka.dead_letters import SetAside
from kefu_common.kafka.patience import Patience
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.progress import Progress
from kefu_common.kafka.setting_aside import SettingAside, hold_back
from kefu_common.postgres.database import Database
from kefu_common.telemetry import logs, metrics, tracing
from kefu_common.waking import end, is_set_within

__all__ = ["ATTEMPTS", "IN_A_ROW", "Apply", "BatchConsumer", "BrokenConsumer", "Source"]

log = logs.get(__name__)
D = TypeVar("D", bound=BaseModel)

_MORE_WITHIN_MS = 3
_COMMIT_EVERY_S = 0.25
_FINISH_S = 8.0
_LEAVE_S = 5.0
_LOOK_S = 0.3
_ANSWER_S = 5.0
_DEAF_AFTER_S = 12.0


class BatchConsumer(Generic[D]):
    """Reads one topic as a member of the service's consumer group."""

    def __init__(
        self,
        service: str,
        source: Source[D],
        db: Database,
        producer: EventProducer,
        *,
        bootstrap: str,
        prefix: str = "",
        slot: str = "0",
        batch_size: int = 500,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        topic = source.topic
        self._source = source
        self._prefix = prefix
        self._on_broken = on_broken
        self._batch_size = batch_size
        self._is_broken = False
        self._is_beginning_anew = False
        self._producer = producer
        self._watching: asyncio.Task[None] | None = None
        self._applied: dict[TopicPartition, int] = {}
        """From where to read on, of what was applied since the last commit."""
        self._committing: asyncio.Task[None] | None = None
        self._patience = Patience(topic.name)
        self._applying = Applying(source, self._patience)
        self._setting_aside = SettingAside(service, topic, db, producer, prefix)
        self._progress = Progress(topic.name, prefix + topic.name)
        name = f"{prefix}kefu.{service}"
        self._broker = KafkaBroker(
            bootstrap,
            client_id=f"{name}.{slot}",
            allow_auto_create_topics=False,
            consumer_only=True,
            graceful_timeout=_FINISH_S,
            logger=None,
        )
        self._subscriber = self._broker.subscriber(
            prefix + topic.name,
            batch=True,
            group_id=name + "." + topic.name.removeprefix("kefu."),
            group_instance_id=f"{name}.{topic.name}.{slot}",
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=batch_size,
            batch_timeout_ms=200,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            # A batch waits for a database that is away; whether we live is told by heartbeats, not by polls.
            max_poll_interval_ms=86_400_000,
            session_timeout_ms=10_000,
            listener=_Listener(self._setting_aside.assigned),
            parser=reading.parser(self._consumer),
            decoder=reading.undecoded,
        )
        self._subscriber(self._on_message)

    async def start(self) -> None:
        """Join the group and begin. Raises `KafkaError` when Kafka is away; may be called again then."""
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self._source.topic.name}")
        self._watching.add_done_callback(self._watch_ended)

    async def stop(self) -> None:
        """Finish the batch in hand (8 s at most, then it is left for the next start), commit, leave."""
        self._patience.stopping.set()
        if self._watching is not None:
            await end([self._watching])
        reading_tasks = list(self._subscriber.tasks)
        try:
            async with asyncio.timeout(_FINISH_S + _LEAVE_S):
                await self._committed()
                await self._broker.stop()
        except TimeoutError:
            log.warning("consumer_left_unheard", topic=self._source.topic.name)
        if reading_tasks:
            # So that a transaction that was cut off is rolled back before the database is closed.
            await asyncio.wait(reading_tasks, timeout=1)

    @property
    def problem(self) -> str | None:
        """Why it makes no progress at present, for /readyz."""
        return self._patience.problem

    def owned(self) -> list[int]:
        """The partitions that this member reads now."""
        consumer = self._subscriber.consumer
        return [] if consumer is None else [tp.partition for tp in consumer.assignment()]

    def read_until(self, partition: int) -> datetime | None:
        """Everything that Kafka wrote down in the partition before this moment has been applied; None: not ours."""
        return self._progress.until(partition) if partition in self.owned() else None

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None
        return consumer

    async def _on_message(self, message: KafkaMessage) -> None:
        raw = message.raw_message
        assert isinstance(raw, tuple)
        if self._is_broken:
            # The framework would go on with the next batch and its offsets; the process is about to end.
            await self._patience.stopping.wait()
            raise asyncio.CancelledError
        try:
            raw += await self._more(self._batch_size - len(raw))
            await self._work_off([reading.record_of(r, self._prefix) for r in raw])
        except BaseException as error:
            # Outermost: whatever gets here would be swallowed by the framework and its offset committed later. A
            # cancellation that nobody asked for would end the reading unseen.
            if not (isinstance(error, asyncio.CancelledError) and self._may_cancel()):
                self._break(error)
            raise
        self._applied |= {TopicPartition(r.topic, r.partition): r.offset + 1 for r in raw}
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all(), name=f"commit {self._source.topic.name}")
        if self._patience.stopping.is_set():
            await self._committed()
        elif self._source.gather_s and len(raw) < self._batch_size:
            await is_set_within(self._patience.stopping, self._source.gather_s)

    async def _commit_all(self) -> None:
        """Commit the offsets of what was applied, beside the next batches, and at most a few times a second.

        No batch need wait for Kafka's answer, and what comes again after a crash is known to the inbox.
        """
        while self._applied and (consumer := self._subscriber.consumer) is not None:
            offsets, self._applied = self._applied, {}
            await self._commit(consumer, offsets)
            await is_set_within(self._patience.stopping, _COMMIT_EVERY_S)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        # What went to another member is for that one to commit.
        owned = {place: offset for place, offset in offsets.items() if place in consumer.assignment()}
        if not owned:
            return
        try:
            async with asyncio.timeout(_ANSWER_S):
                await consumer.commit(owned)
        except (KafkaError, TimeoutError) as error:
            # The group moved on, or Kafka is away; the batch comes again and the inbox knows it.
            log.info("offsets_not_committed", error=type(error).__name__)

    async def _committed(self) -> None:
        """Return when what was applied is committed, or Kafka did not answer in time."""
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=_ANSWER_S)

    async def _more(self, most: int) -> reading.Raw:
        """What came in while the last batch was worked off.

        The Kafka client fetches nothing while records wait in it. What it gives first is what came first after the last
        look, often a single record, and all that came later would wait for another round.
        """
        if most <= 0:
            return ()
        found = await self._consumer().getmany(timeout_ms=_MORE_WITHIN_MS, max_records=most)
        return tuple(record for records in found.values() for record in records)

    async def _work_off(self, records: list[Record]) -> None:
        topic, wait_out = self._source.topic.name, self._patience.until_it_passes
        started = time.perf_counter()
        received, asides = reading.read(records, self._source.models)
        keys = list({r.record.key for r in received})
        going, held = hold_back(received, await wait_out(lambda: self._setting_aside.waiting(keys)))
        parsed = time.perf_counter()
        failed = await self._apply_traced(going, len(records))
        applied = time.perf_counter()
        asides = sorted(asides + held + failed, key=lambda a: (a.record.partition, a.record.offset))
        await wait_out(lambda: self._setting_aside.note(asides))
        if asides:
            await wait_out(lambda: self._setting_aside.send(asides))
        done = _without(going, failed)
        await wait_out(lambda: self._setting_aside.release(done))
        ended = time.perf_counter()
        for phase, seconds in (("read", parsed - started), ("apply", applied - parsed), ("dead", ended - applied)):
            metrics.BATCH_SECONDS.labels(topic, phase).observe(seconds)
        self._progress.applied(records)
        self._count(done)

    async def _apply_traced(self, events: Sequence[Received[D]], size: int) -> list[SetAside]:
        topic = self._source.topic.name
        batch_span = tracing.start_batch_span(f"{topic} batch", {"messaging.batch.message_count": size})
        link = tracing.traceparent_of(batch_span) if batch_span else None
        with tracing.in_context(batch_span):
            traced, spans = reading.with_spans(events, topic, link)
            try:
                return await self._applying.apply(traced)
            finally:
                for span in spans:
                    span.end()

    def _count(self, applied: Sequence[Received[D]]) -> None:
        topic, now = self._source.topic.name, datetime.now(UTC)
        metrics.CONSUMED.labels(topic).inc(len(applied))
        delay = metrics.EVENT_DELAY.labels(topic)
        for received in applied:
            delay.observe(max(0.0, (now - received.event.time).total_seconds()))

    async def _watch(self) -> None:
        """Ask how far the topic goes, and whether anybody still reads it: the framework is silent when it gives up."""
        heard = time.monotonic()
        while True:
            consumer = self._consumer()
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await self._progress.look(consumer)
                heard = time.monotonic()
            except (KafkaError, TimeoutError) as error:
                log.info("progress_unknown", topic=self._source.topic.name, error=type(error).__name__)
            coordination = consumer._coordinator._coordination_task
            if coordination.done() or all(task.done() for task in self._subscriber.tasks):
                raise BrokenConsumer(f"{self._source.topic.name}: the reading ended by itself")
            if time.monotonic() - heard > _DEAF_AFTER_S and await self._producer.answers(2):
                await self._begin_anew()
                heard = time.monotonic()
            await asyncio.sleep(_LOOK_S)

    async def _begin_anew(self) -> None:
        """After a broker's restart the Kafka client was seen to wait for ever, while others went on: take a new one.

        The batch in hand is left; it comes again, and the inbox knows what of it was applied.
        """
        log.warning("consumer_begins_anew", topic=self._source.topic.name, hint="Kafka answers, but not this client")
        self._is_beginning_anew = True
        reading_tasks = list(self._subscriber.tasks)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_S + _LEAVE_S):
                    await self._broker.stop()
            await end(reading_tasks)
            if self._committing is not None:
                await end([self._committing])
            self._applied = {}
            self._progress = Progress(self._source.topic.name, self._prefix + self._source.topic.name)
            await self._broker.start()
        finally:
            self._is_beginning_anew = False

    def _may_cancel(self) -> bool:
        return self._patience.stopping.is_set() or self._is_beginning_anew

    def _watch_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        if not self._is_broken:
            self._is_broken = True
            log.error("consumer_stopped", topic=self._source.topic.name, error=logs.described(error))
            self._on_broken(error)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells when partitions were assigned, before anything is read of them."""

    def __init__(self, assigned: Callable[[], None]) -> None:
        self._assigned = assigned

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """What was read of them goes on; its offsets are the next member's to commit."""

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:  # noqa: ARG002 - the library calls it
        self._assigned()


def _without(events: Sequence[Received[D]], asides: Sequence[SetAside]) -> list[Received[D]]:
    left = {(a.record.partition, a.record.offset) for a in asides}
    return [r for r in events if (r.record.partition, r.record.offset) not in left]
