"""The producer knows whether Kafka confirms, and is made anew when it broke."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.ids import new_id
from kefu_common.kafka.producer import EventProducer, NotConfirmed, Outgoing, RecordTooLarge, _partition_of
from kefu_common.kafka.topics import MAX_RECORD_BYTES
from tests.common.conftest import OwnServer
from tests.common.harness import TOPIC, eventually, read_all
from tests.conftest import World
from tests.processes import freeze


async def a_topic(kafka: str, config: dict[str, str] | None = None) -> str:
    name = str(new_id())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config or {})])
    await admin.close()
    return name


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[EventProducer]:
    made = EventProducer(kafka, "test")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def own_producer(own_kafka: OwnServer) -> AsyncIterator[EventProducer]:
    made = EventProducer(own_kafka.address, "test")
    await made.start()
    yield made
    await made.stop(1)


@given(st.binary(max_size=60) | st.none(), st.integers(1, 24))
def test_a_key_goes_to_the_partition_where_every_client_looks_for_it(key: bytes | None, count: int) -> None:
    partitions = list(range(count))
    if key is None:
        assert _partition_of(key, partitions, [count - 1]) == count - 1
    else:
        assert _partition_of(key, partitions, []) == DefaultPartitioner()(key, partitions, [])


async def test_a_record_over_the_limit_is_refused_before_anything_is_sent(
    world: World, producer: EventProducer
) -> None:
    topic = world.prefix + TOPIC
    too_large = [
        Outgoing(topic, b"k", b"x" * MAX_RECORD_BYTES),
        Outgoing(topic, b"k", b"x" * (MAX_RECORD_BYTES - 100), (("h", b"x" * 100),)),
    ]
    for record in too_large:
        with pytest.raises(RecordTooLarge):
            await producer.send([Outgoing(topic, b"k", b"1"), record], 5)
    # The largest that is let through is taken, beside others of its partition.
    largest = b"x" * (MAX_RECORD_BYTES - 1)
    await producer.send([Outgoing(topic, b"k", b"2"), Outgoing(topic, b"k", largest), Outgoing(topic, None, b"3")], 10)
    assert sorted(r.value for r in await read_all(world.kafka, topic)) == [b"2", b"3", largest]
    assert not producer.is_failing


async def test_an_error_that_cannot_be_retried_makes_the_producer_anew(kafka: str, producer: EventProducer) -> None:
    small = await a_topic(kafka, {"max.message.bytes": "1000"})
    broken = producer._producer
    with pytest.raises(NotConfirmed):
        await producer.send([Outgoing(small, b"k", b"x" * 5000)], 5)
    assert producer.is_failing

    await producer.send([Outgoing(small, b"k", b"1")], 10)

    assert producer._producer is not broken
    assert not producer.is_failing
    assert [r.value for r in await read_all(kafka, small)] == [b"1"]


async def test_one_that_is_too_large_for_its_topic_does_not_hide_what_was_confirmed(
    kafka: str, producer: EventProducer
) -> None:
    small, other = await a_topic(kafka, {"max.message.bytes": "1000"}), await a_topic(kafka)
    confirmed = await producer.confirm([Outgoing(other, b"k", b"1"), Outgoing(small, b"k", b"x" * 5000)], 5)
    assert confirmed == [True, False]


async def test_a_broker_that_stands_still_is_told_in_time_and_works_again_afterwards(
    own_kafka: OwnServer, own_producer: EventProducer
) -> None:
    topic = await a_topic(own_kafka.address)
    await own_producer.send([Outgoing(topic, b"k", b"1")], 10)
    await freeze(own_kafka.pid)
    try:
        began = time.monotonic()
        with pytest.raises(NotConfirmed):
            await own_producer.send([Outgoing(topic, b"k", b"2")], 1)
        assert time.monotonic() - began < 2
        assert own_producer.is_failing
        # One probe a second, not one for each request.
        assert [own_producer.may_try(0.3), own_producer.may_try(0.3)] == [False, False]
        await eventually(lambda: own_producer.may_try(0.3))
        assert not own_producer.may_try(0.3)
        assert not await own_producer.answers(0.3)
    finally:
        os.kill(own_kafka.pid, signal.SIGCONT)
    # What was sent before gets through late, and ends the failure without another try.
    await eventually(lambda: not own_producer.is_failing, 20)
    assert own_producer.may_try()
    await own_producer.send([Outgoing(topic, b"k", b"2")], 10)
    values = [r.value for r in await read_all(own_kafka.address, topic)]
    assert values[0] == b"1"
    assert set(values) == {b"1", b"2"}


async def test_a_killed_broker_is_told_in_time_and_works_again_afterwards(
    own_kafka: OwnServer, own_producer: EventProducer
) -> None:
    topic = await a_topic(own_kafka.address)
    await own_producer.send([Outgoing(topic, b"k", b"1")], 10)
    await own_kafka.kill()
    with pytest.raises(NotConfirmed):
        await own_producer.send([Outgoing(topic, b"k", b"2")], 1)
    await own_kafka.ready()

    async def is_confirmed() -> bool:
        return await own_producer.confirm([Outgoing(topic, b"k", b"2")], 5) == [True]

    await eventually(is_confirmed, 30)
    assert {r.value for r in await read_all(own_kafka.address, topic)} == {b"1", b"2"}


async def test_a_stop_without_a_broker_ends_in_time_and_leaves_nothing_running(own_kafka: OwnServer) -> None:
    producer = EventProducer(own_kafka.address, "test")
    await producer.start()
    topic = await a_topic(own_kafka.address)
    await producer.send([Outgoing(topic, b"k", b"1")], 10)
    before = asyncio.all_tasks()
    await freeze(own_kafka.pid)
    try:
        with pytest.raises(NotConfirmed):
            await producer.send([Outgoing(topic, b"k", b"2"), Outgoing(topic, b"k", b"3")], 0.5)
        began = time.monotonic()
        await producer.stop(1)
        assert time.monotonic() - began < 3
        # A sender left behind would try for ever, and write long after its successor.
        await eventually(lambda: not {t for t in asyncio.all_tasks() - before if not t.done()})
    finally:
        os.kill(own_kafka.pid, signal.SIGCONT)
    with pytest.raises(NotConfirmed):
        await EventProducer("127.0.0.1:9", "nowhere").send([Outgoing(topic, b"k", b"4")], 1)
