"""The outbox and its relays: in order per key, nothing lost, whoever dies."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.kafka.producer import EventProducer, Outgoing, RecordTooLarge
from kefu_common.kafka.topics import MAX_RECORD_BYTES, TICKETS
from kefu_common.postgres import outbox
from kefu_common.postgres.outbox import SHARDS, Row, event_row, shard_of
from kefu_common.postgres.relay import LEASE_S, Relay
from tests.common.harness import Bench, eventually, read_all, ticked

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def row(n: int, key: str) -> Row:
    return Row(TICKETS.name, key, str(n).encode())


async def published(bench: Bench) -> "list[ConsumerRecord[Any, Any]]":
    return await read_all(bench.world.kafka, bench.world.prefix + TICKETS.name)


async def left(bench: Bench) -> int:
    count: int = await bench.db.pool.fetchval("select count(*) from outbox")
    return count


def first_appearances(records: "list[ConsumerRecord[Any, Any]]") -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        n, key = int(record.value), record.key.decode()
        if n not in found[key]:
            found[key].append(n)
    return found


async def is_empty(bench: Bench) -> None:
    async def nothing_left() -> bool:
        return await left(bench) == 0

    await eventually(nothing_left, 30)


class Running:
    """Relays that are cancelled at the end, as a process that dies."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, slot: str, lease_s: float = 2.0, producer: EventProducer | None = None) -> Relay:
        relay = Relay(self._bench.db, producer or self._bench.producer, slot, self._bench.world.prefix, 0.05, lease_s)
        self._tasks[slot] = asyncio.create_task(relay.run())
        return relay

    async def kill(self, slot: str) -> None:
        task = self._tasks.pop(slot)
        task.cancel()
        await asyncio.wait([task])

    async def kill_all(self) -> None:
        for slot in list(self._tasks):
            await self.kill(slot)


@pytest.fixture
async def relays(bench: Bench) -> Any:
    running = Running(bench)
    yield running
    await running.kill_all()


async def test_concurrent_writers_that_lock_their_key_are_published_in_order_of_their_commits(
    bench: Bench, relays: Running
) -> None:
    await bench.db.pool.execute("create table counters (key text primary key, n integer not null)")
    keys = [f"k{n}" for n in range(5)]
    await bench.db.pool.executemany("insert into counters values ($1, 0)", [(key,) for key in keys])
    relays.start("0")

    async def write(key: str) -> None:
        for _ in range(20):
            async with bench.db.transaction() as tx:
                n = await tx.fetchval("update counters set n = n + 1 where key = $1 returning n", key)
                await outbox.add(tx, [row(n, key)])

    await asyncio.gather(*(write(key) for key in keys for _ in range(3)))
    await is_empty(bench)
    assert first_appearances(await published(bench)) == {key: list(range(1, 61)) for key in keys}


class Unsure(EventProducer):
    """Writes, and says of every second call that it does not know."""

    calls = 0

    async def confirm(self, records: Any, timeout_s: float) -> list[bool]:
        found = await super().confirm(records, timeout_s)
        self.calls += 1
        return [False] * len(found) if self.calls % 2 else found


async def test_rows_stay_until_kafka_has_confirmed_them(bench: Bench, relays: Running) -> None:
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(n, f"k{n % 3}") for n in range(30)])
    nowhere = EventProducer("127.0.0.1:9", "nowhere")
    failing = relays.start("0", producer=nowhere)
    await eventually(lambda: failing.problem is not None)
    assert await left(bench) == 30
    await relays.kill("0")
    await nowhere.stop()

    unsure = Unsure(bench.world.kafka, "unsure")
    await unsure.start()
    relays.start("0", producer=unsure)
    await is_empty(bench)
    await relays.kill("0")
    await unsure.stop()
    assert first_appearances(await published(bench)) == {f"k{k}": list(range(k, 30, 3)) for k in range(3)}
    assert len(await published(bench)) == 60


class Dying(EventProducer):
    """Writes, and never comes back."""

    async def confirm(self, records: Any, timeout_s: float) -> list[bool]:
        await super().confirm(records, timeout_s)
        await asyncio.Event().wait()
        return []


async def test_a_relay_killed_between_send_and_delete_repeats_and_loses_nothing_and_is_back_in_its_slot_at_once(
    bench: Bench, relays: Running
) -> None:
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(n, "k") for n in range(10)])
    dying = Dying(bench.world.kafka, "dying")
    await dying.start()
    relays.start("0", LEASE_S, dying)

    async def are_written() -> bool:
        return len(await published(bench)) == 10

    await eventually(are_written)
    await relays.kill("0")
    await dying.stop()
    assert await left(bench) == 10

    relays.start("0", LEASE_S)
    async with asyncio.timeout(5):
        await is_empty(bench)
    assert first_appearances(await published(bench)) == {"k": list(range(10))}


async def test_two_relays_share_the_shards_and_one_takes_over_when_the_other_vanishes(
    bench: Bench, relays: Running
) -> None:
    # 10 s, plus three tenths of it until the other looks again.
    assert LEASE_S * 1.3 < 15
    count = 0

    async def add_some() -> None:
        nonlocal count
        async with bench.db.transaction() as tx:
            await outbox.add(tx, [row(n, f"k{n % 40}") for n in range(count, count + 200)])
        count += 200

    first, second = relays.start("0"), relays.start("1")
    await eventually(lambda: (len(first._fences), len(second._fences)) == (SHARDS // 2, SHARDS // 2))
    assert not set(first._fences) & set(second._fences)
    await add_some()
    await is_empty(bench)
    await relays.kill("1")
    await add_some()
    assert {shard_of(f"k{n}") for n in range(40)} & set(second._fences)
    async with asyncio.timeout(1.5 * 2.0 + 2):
        await is_empty(bench)
    assert len(first._fences) == SHARDS
    again = relays.start("1")
    await eventually(lambda: len(again._fences) == SHARDS // 2)
    await add_some()
    await is_empty(bench)
    assert first_appearances(await published(bench)) == {f"k{k}": list(range(k, count, 40)) for k in range(40)}


async def test_a_relay_hears_of_what_others_write_also_when_its_connection_was_lost(bench: Bench) -> None:
    """Fails without `_listen`, its termination listener, or the look when it listens: else it looks once a minute."""
    relay = Relay(bench.db, bench.producer, "0", bench.world.prefix, look_s=60)
    running = asyncio.create_task(relay.run())

    async def write_one() -> None:
        async with bench.db.transaction() as tx:
            await outbox.add(tx, [row(1, "k")])

    try:
        for _ in range(2):
            await eventually(lambda: relay._listens)
            await write_one()
            async with asyncio.timeout(3):
                await is_empty(bench)
            ended = await bench.db.pool.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where query ilike 'listen%' and datname = current_database()"
            )
            assert ended == 1
            await eventually(lambda: not relay._listens)
            await write_one()
            async with asyncio.timeout(3):
                await is_empty(bench)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_relay_that_lost_its_lease_deletes_nothing_of_its_successor(bench: Bench) -> None:
    stale = Relay(bench.db, bench.producer, "0", bench.world.prefix, lease_s=0.3)
    await stale._hold_shards()
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(1, "k")])

    async def is_over() -> bool:
        over = "select bool_and(lease_until < now() - interval '0.1 s') from outbox_shards"
        return bool(await bench.db.pool.fetchval(over))

    await eventually(is_over)
    successor = Relay(bench.db, bench.producer, "1", bench.world.prefix, lease_s=0.3)
    await successor._hold_shards()
    assert len(successor._fences) == SHARDS

    # By its own clock the lease is over: it does not even send.
    await stale._publish_some()
    assert await published(bench) == []
    # Paused right before the delete: its fence is old.
    stale._held_until = float("inf")
    await stale._publish_some()
    assert len(await published(bench)) == 1
    await stale._delete_confirmed()
    assert await left(bench) == 1
    successor._held_until = float("inf")
    await successor._publish_some()
    await successor._delete_confirmed()
    assert await left(bench) == 0


async def test_whoever_takes_over_shards_in_order_finds_nothing_there_that_was_published(
    bench: Bench, relays: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that all deletions but the first are those that are tested here, and no lease is renewed before the check.
    monkeypatch.setattr("kefu_common.postgres.relay._DELETE_EVERY_S", 60)
    relays.start("0", lease_s=LEASE_S)

    async def write_and_wait(numbers: range) -> None:
        async with bench.db.transaction() as tx:
            await outbox.add(tx, [row(n, f"k{n}") for n in numbers])

        async def are_published() -> bool:
            return len(await published(bench)) == numbers.stop

        await eventually(are_published)

    await write_and_wait(range(1))
    await write_and_wait(range(1, 100))
    assert await left(bench) == 99, "the first is deleted at once, the others later"
    # Fails without the first deletion in `_hold_shards`.
    relays.start("1", lease_s=LEASE_S)

    async def is_shared() -> bool:
        holders: int = await bench.db.pool.fetchval("select count(distinct holder) from outbox_shards")
        return holders == 2

    await eventually(is_shared)
    await write_and_wait(range(100, 200))
    # Fails without the last deletion in `run`.
    await relays.kill_all()
    assert await left(bench) == 0
    assert len(await published(bench)) == 200


@given(
    st.text(max_size=20), st.binary(max_size=50), st.none() | st.dictionaries(st.text(max_size=9), st.text(max_size=9))
)
def test_a_row_becomes_no_larger_a_record_than_it_says(key: str, value: bytes, headers: dict[str, str] | None) -> None:
    row = Row("kefu.tickets.v1", key, value, headers)
    assert row.record().size <= row.at_most_bytes


async def test_a_row_that_kafka_would_never_take_is_refused_when_it_is_made(bench: Bench) -> None:
    with pytest.raises(RecordTooLarge):
        async with bench.db.transaction() as tx:
            await outbox.add(tx, [row(1, "k"), Row(TICKETS.name, "k", b"x" * MAX_RECORD_BYTES)])
    assert await left(bench) == 0


async def test_one_that_got_in_all_the_same_holds_up_its_own_key_only(bench: Bench, relays: Running) -> None:
    await bench.db.pool.execute(
        "insert into outbox (shard, topic, key, value) values ($1, $2, 'big', $3)",
        shard_of("big"),
        TICKETS.name,
        b"x" * MAX_RECORD_BYTES,
    )
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(1, "big"), row(2, "k")])
    relays.start("0")

    async def is_published() -> bool:
        return [r.value for r in await published(bench)] == [b"2"]

    await eventually(is_published)
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(3, "k")])

    async def goes_on() -> bool:
        return [r.value for r in await published(bench)] == [b"2", b"3"]

    await eventually(goes_on)

    async def only_the_stuck_ones_are_left() -> bool:
        return await left(bench) == 2

    # What Kafka has confirmed is deleted a moment after it can be read there.
    await eventually(only_the_stuck_ones_are_left)


async def test_the_trace_context_goes_through_the_outbox(bench: Bench, relays: Running) -> None:
    async with bench.db.transaction() as tx:
        await outbox.add(
            tx, [event_row(TICKETS, "k", ticked(1, traceparent=PARENT)), event_row(TICKETS, "k", ticked(2))]
        )
    relays.start("0")
    await is_empty(bench)
    first, second = await published(bench)
    assert dict(first.headers) == {"content-type": b"application/cloudevents+json", "traceparent": PARENT.encode()}
    assert dict(second.headers) == {"content-type": b"application/cloudevents+json"}


def test_a_record_of_a_row_is_what_the_row_says() -> None:
    record = Row("t", "k", b"v", {"h": "é"}).record("p.")
    assert record == Outgoing("p.t", b"k", b"v", (("h", "é".encode()),))


class Partly(EventProducer):
    """Says once of one key's first record that it does not know."""

    doubted = b""

    async def confirm(self, records: Any, timeout_s: float) -> list[bool]:
        found = await super().confirm(records, timeout_s)
        doubtful, self.doubted = self.doubted, b""
        first = next((n for n, record in enumerate(records) if record.key == doubtful), None)
        return [ok and n != first for n, ok in enumerate(found)]


async def test_what_was_confirmed_is_not_sent_again_because_of_a_neighbour(bench: Bench, relays: Running) -> None:
    producer = Partly(bench.world.kafka, "partly")
    await producer.start()
    producer.doubted = b"k1"
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [row(n, f"k{n % 3}") for n in range(9)])
    relays.start("0", producer=producer)
    await is_empty(bench)
    await producer.stop()
    written = [(record.key.decode(), int(record.value)) for record in await published(bench)]
    assert sorted(written) == sorted([(f"k{n % 3}", n) for n in range(9)] + [("k1", n) for n in (1, 4, 7)])
    assert [n for key, n in written if key == "k1"] == [1, 4, 7, 1, 4, 7]


async def test_a_relay_takes_no_more_than_kafka_takes_in_time(
    bench: Bench, relays: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kefu_common.postgres.relay._BATCH_BYTES", 1000)
    sizes: list[int] = []

    class Weighing(EventProducer):
        async def confirm(self, records: Any, timeout_s: float) -> list[bool]:
            sizes.append(sum(len(record.value) for record in records))
            return await super().confirm(records, timeout_s)

    producer = Weighing(bench.world.kafka, "weighing")
    await producer.start()
    async with bench.db.transaction() as tx:
        await outbox.add(tx, [Row(TICKETS.name, "k", b"x" * size) for size in (400, 400, 400, 5000, 10, 10)])
    relays.start("0", producer=producer)
    await is_empty(bench)
    await producer.stop()
    assert sizes == [1200, 5000, 20]
