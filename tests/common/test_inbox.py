"""The inbox: an event takes effect once, and the first body wins."""

import asyncio
from datetime import timedelta
from uuid import UUID

from kefu_common.events.envelope import Event
from kefu_common.ids import new_id
from kefu_common.kafka.batch import Received, Record
from kefu_common.postgres import inbox
from tests.common.harness import Bench, Ticked, eventually, ticked


def received(*events: Event[Ticked]) -> list[Received[Ticked]]:
    return [Received(e, Record("t", 0, i, 0, e.subject, e.to_bytes(), ())) for i, e in enumerate(events)]


def numbers(found: list[Received[Ticked]]) -> list[int]:
    return [r.event.data.n for r in found]


def same_but(event: Event[Ticked], n: int) -> Event[Ticked]:
    return Event(event.id, event.type, event.source, event.subject, event.time, event.account, Ticked(n=n))


async def test_the_same_body_is_repeated_and_another_one_is_reused_also_within_one_batch(bench: Bench) -> None:
    first = ticked(1)
    async with bench.db.transaction() as tx:
        sifted = await inbox.keep_new(tx, received(first, first.traced("00-1"), same_but(first, 2), ticked(3)))
    assert (numbers(sifted.fresh), numbers(sifted.repeated), numbers(sifted.reused)) == ([1, 3], [1], [2])
    async with bench.db.transaction() as tx:
        sifted = await inbox.keep_new(tx, received(same_but(first, 2), first))
    # In the second batch the wrong one comes first, and still loses.
    assert (numbers(sifted.fresh), numbers(sifted.repeated), numbers(sifted.reused)) == ([], [1], [2])


async def test_the_second_of_two_transactions_waits_and_sees_what_became_of_the_first(bench: Bench) -> None:
    one, other = ticked(1), ticked(5)
    for is_kept, expected in ((True, ([], [2])), (False, ([6], []))):
        event = one if is_kept else other
        second = received(same_but(event, event.data.n + 1))
        first_tx = bench.db.pool.acquire()
        connection = await first_tx
        transaction = connection.transaction()
        await transaction.start()
        await inbox.keep_new(connection, received(event))

        async def sift(second: list[Received[Ticked]] = second) -> inbox.Sifted[Ticked]:
            async with bench.db.transaction() as tx:
                return await inbox.keep_new(tx, second)

        waiting = asyncio.create_task(sift())

        async def waits() -> bool:
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            return bool(await bench.db.pool.fetchval(f"{waiting} and datname = current_database()"))

        await eventually(waits)
        assert not waiting.done()
        await (transaction.commit() if is_kept else transaction.rollback())
        await bench.db.pool.release(connection)
        sifted = await waiting
        assert (numbers(sifted.fresh), numbers(sifted.reused)) == expected


async def test_two_batches_in_reversed_order_do_not_lock_each_other_for_good(bench: Bench) -> None:
    # Slow enough that the two are sure to meet half-way.
    await bench.db.pool.execute(
        "create function slow() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.02); return new; end $$;"
        " create trigger slow before insert on inbox for each row execute function slow()"
    )

    async def sift(batch: list[Received[Ticked]]) -> int:
        async with bench.db.transaction() as tx:
            return len((await inbox.keep_new(tx, batch)).fresh)

    fresh = [ticked(n) for n in range(20)]
    counts = await asyncio.gather(sift(received(*fresh)), sift(received(*reversed(fresh))))
    assert sorted(counts) == [0, 20]


async def test_old_ids_are_forgotten_after_thirty_days_and_no_others(bench: Bench) -> None:
    ids: list[UUID] = [new_id(), new_id()]
    for event, age in zip(ids, (29, 31), strict=True):
        await bench.db.pool.execute(
            "insert into inbox (event, body_hash, seen_at) values ($1, '', now() - $2::interval)",
            event,
            timedelta(days=age),
        )
    async with bench.db.transaction() as tx:
        await inbox.forget_old(tx)
    assert [row["event"] for row in await bench.db.pool.fetch("select event from inbox")] == [ids[0]]
