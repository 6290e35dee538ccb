"""A consumer stops within 15 s whatever it is doing, and never dies unseen."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import pytest
from aiokafka.errors import KafkaError

from kefu_common.kafka.batch import Received
from kefu_common.kafka.consumer import BrokenConsumer
from tests.common.harness import Bench, Consuming, Ticked, eventually, ticked


async def stop_timed(consuming: Consuming) -> float:
    started = time.monotonic()
    await consuming.consumer.stop()
    return time.monotonic() - started


async def test_a_batch_that_waits_for_the_database_is_left_at_once_for_the_next_start(bench: Bench) -> None:
    consuming = bench.consuming(fails=lambda _r: ConnectionRefusedError())
    await bench.post(ticked(1))
    await consuming.consumer.start()
    await eventually(lambda: consuming.tries[1] >= 3)

    assert await stop_timed(consuming) < 4

    assert not consuming.broken
    again = bench.consuming()
    await again.consumer.start()

    async def is_applied() -> bool:
        return await bench.applied() == [1]

    await eventually(is_applied)


async def test_an_event_that_is_being_retried_is_left_and_not_set_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kefu_common.kafka.applying._FIRST_PAUSE_S", 30)
    consuming = bench.consuming(fails=lambda _r: ValueError())
    await bench.post(ticked(1))
    await consuming.consumer.start()
    await eventually(lambda: consuming.tries[1] >= 1)

    assert await stop_timed(consuming) < 4

    assert await bench.letters() == []
    assert not consuming.broken


async def test_the_batch_in_hand_is_finished_and_committed(bench: Bench) -> None:
    consuming = bench.consuming()
    began, go_on = asyncio.Event(), asyncio.Event()
    apply = consuming.apply

    async def slow(batch: Sequence[Received[Ticked]]) -> None:
        began.set()
        await go_on.wait()
        await apply(batch)

    object.__setattr__(consuming.consumer._applying._source, "apply", slow)
    await bench.post(ticked(1))
    await consuming.consumer.start()
    await began.wait()
    stopping = asyncio.create_task(consuming.consumer.stop())
    await eventually(consuming.consumer._patience.stopping.is_set)
    go_on.set()
    await stopping

    assert await bench.applied() == [1]
    again = bench.consuming()
    await again.consumer.start()
    await eventually(lambda: len(again.consumer.owned()) == 3)
    assert await bench.committed(again.consumer) == 1


async def test_a_statement_that_hangs_is_cut_off_and_rolled_back(bench: Bench) -> None:
    consuming = bench.consuming()
    locking = await asyncpg.connect(bench.dsn)
    await locking.execute("begin; lock table applied")
    await bench.post(ticked(1))
    await consuming.consumer.start()
    await eventually(lambda: consuming.tries[1] >= 1)

    assert await stop_timed(consuming) < 15

    await locking.close()
    assert not consuming.broken
    assert await bench.applied() == []
    assert await bench.db.pool.fetchval("select count(*) from inbox") == 0


async def test_a_cancellation_that_nobody_asked_for_is_told(bench: Bench) -> None:
    consuming = bench.consuming(fails=lambda _r: asyncio.CancelledError())
    await bench.post(ticked(1))
    await consuming.consumer.start()
    await eventually(lambda: bool(consuming.broken))
    assert await bench.committed(consuming.consumer) == 0


async def test_a_reading_task_that_ends_is_told(bench: Bench) -> None:
    consuming = bench.consuming()
    await consuming.consumer.start()
    for task in consuming.consumer._subscriber.tasks:
        task.cancel()
    await eventually(lambda: bool(consuming.broken))
    assert isinstance(consuming.broken[0], BrokenConsumer)


async def test_a_start_without_kafka_says_so_and_may_be_tried_again(bench: Bench) -> None:
    nowhere = bench.consuming(bootstrap="127.0.0.1:9")
    for _ in range(2):
        with pytest.raises(KafkaError):
            await nowhere.consumer.start()
