"""How far a consumer has come: up to which moment everything is applied, and how much is left."""

from collections.abc import Iterable
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from kefu_common.kafka.batch import Record
from kefu_common.telemetry import metrics


class Progress:
    """What one consumer has applied of its topic's partitions. All that it says stays true when others go on."""

    def __init__(self, topic: str, full_name: str) -> None:
        self._topic = topic
        self._full_name = full_name
        self._applied: dict[int, int] = {}
        self._until: dict[int, datetime] = {}
        self._seen: dict[int, int] = {}
        self._shown: set[int] = set()

    def applied(self, records: Iterable[Record]) -> None:
        """These and all before them have been applied or set aside."""
        for record in records:
            self._applied[record.partition] = record.offset + 1
            self._until[record.partition] = max(record.written_at, self._until.get(record.partition, record.written_at))

    def until(self, partition: int) -> datetime | None:
        """Everything that Kafka wrote down in the partition before this moment has been applied."""
        return self._until.get(partition)

    async def look(self, consumer: AIOKafkaConsumer) -> None:
        """Ask Kafka where the partitions end. Raises `KafkaError`."""
        owned = [tp for tp in consumer.assignment() if tp.topic == self._full_name]
        # Taken before the question: what is written afterwards may be missing from the answer. The client's own note
        # of the end is dated when the answer is handled, which in a paused process may be much later.
        now = datetime.now(UTC)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(owned) if owned else {}
        for tp in owned:
            left = ends[tp] - await self._applied_of(consumer, tp, ends[tp])
            if left <= 0:
                self._until[tp.partition] = max(now, self._until.get(tp.partition, now))
            metrics.CONSUMER_LAG.labels(self._topic, str(tp.partition)).set(max(0, left))
        self._forget({tp.partition for tp in owned})

    async def _applied_of(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> int:
        known = self._applied.get(tp.partition)
        if known is None or (known < end and known == self._seen.get(tp.partition)):
            # Ours since now, or it stands still: whoever had it before may have gone further. What lies before the
            # committed offset has been applied.
            first: int = (await consumer.beginning_offsets([tp]))[tp]
            committed: int | None = await consumer.committed(tp)
            known = max(first, committed or 0, self._applied.get(tp.partition, 0))
            self._applied[tp.partition] = known
        self._seen[tp.partition] = known
        return known

    def _forget(self, owned: set[int]) -> None:
        for partition in self._shown - owned:
            metrics.CONSUMER_LAG.remove(self._topic, str(partition))
            self._applied.pop(partition, None)
        self._shown = owned
