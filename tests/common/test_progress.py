"""How far a consumer says that it has read."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import REGISTRY

from kefu_common.kafka.batch import Received, Record
from kefu_common.kafka.progress import Progress
from tests.common.harness import TOPIC, Bench, Ticked, eventually, ticked


def lag() -> float:
    return sum(
        REGISTRY.get_sample_value("kefu_consumer_lag", {"topic": TOPIC, "partition": str(p)}) or 0 for p in range(3)
    )


async def test_a_quiet_partition_is_read_until_now_also_after_a_restart(bench: Bench) -> None:
    await bench.post(ticked(1))
    await reads_until_now(bench)
    assert await bench.applied() == [1]
    # Nothing new: what it has read is known from the offsets alone.
    await reads_until_now(bench)


async def reads_until_now(bench: Bench) -> None:
    consuming = bench.consuming()
    await consuming.consumer.start()
    since = datetime.now(UTC)

    def has_read() -> bool:
        read = [consuming.consumer.read_until(p) for p in range(3)]
        return all(until is not None and until > since for until in read)

    await eventually(has_read)
    assert lag() == 0
    await consuming.consumer.stop()
    assert consuming.consumer.read_until(0) is None


async def test_what_is_not_applied_yet_is_not_said_to_be_read(bench: Bench) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    consuming = bench.consuming(batch_size=1)
    apply = consuming.apply

    async def slow(batch: Sequence[Received[Ticked]]) -> None:
        began.set()
        await go_on.wait()
        await apply(batch)

    object.__setattr__(consuming.consumer._applying._source, "apply", slow)
    await bench.post(ticked(1), ticked(2))
    posted = datetime.now(UTC)
    await consuming.consumer.start()
    await began.wait()
    # The other partitions show that it has looked.
    await eventually(lambda: sum((consuming.consumer.read_until(p) or posted) > posted for p in range(3)) == 2)
    await eventually(lambda: lag() == 2)
    busy = [p for p in range(3) if (consuming.consumer.read_until(p) or posted) <= posted]
    assert len(busy) == 1
    go_on.set()
    await eventually(lambda: (consuming.consumer.read_until(busy[0]) or posted) > posted)
    await eventually(lambda: lag() == 0)


async def test_what_is_written_while_kafka_answers_is_not_said_to_be_read(bench: Bench) -> None:
    topic = bench.world.prefix + TOPIC
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bench.world.kafka, group_id=topic, enable_auto_commit=False)
    await consumer.start()
    await eventually(lambda: len(consumer.assignment()) == 3)
    progress = Progress(TOPIC, topic)
    end_offsets = consumer.end_offsets

    async def answers_late(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        answer: dict[TopicPartition, int] = await end_offsets(partitions)
        await bench.post(ticked(1))  # and the process was paused in between
        return answer

    consumer.end_offsets = answers_late
    await progress.look(consumer)
    posted = [r for rs in (await consumer.getmany(timeout_ms=5000)).values() for r in rs]
    await consumer.stop()
    written = Record(TOPIC, posted[0].partition, 0, posted[0].timestamp, "k", b"", ()).written_at if posted else None
    until = progress.until(posted[0].partition) if posted else None
    assert until is not None
    assert written is not None
    assert until <= written


async def test_a_partition_that_another_member_has_is_not_ours_to_report(bench: Bench) -> None:
    first, second = bench.consuming(slot="0"), bench.consuming(slot="1")
    await first.consumer.start()
    await eventually(lambda: len(first.consumer.owned()) == 3)
    await second.consumer.start()
    await eventually(lambda: len(first.consumer.owned()) < 3 and len(second.consumer.owned()) > 0, 30)
    lost = set(range(3)) - set(first.consumer.owned())
    assert all(first.consumer.read_until(p) is None for p in lost)
    assert lost == set(second.consumer.owned())
    await eventually(lambda: all(second.consumer.read_until(p) is not None for p in lost))
    await eventually(lambda: first.consumer._progress._shown == set(first.consumer.owned()))
