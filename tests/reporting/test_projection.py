"""Counting with a real Postgres: once, in any order, by any number of processes."""

import asyncio
import random
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import pytest

from kefu_common.events.words import Channel
from kefu_common.kafka.batch import Received, Record
from kefu_common.postgres.database import Database, passes
from kefu_reporting.domain.counting import TicketEvent, UnknownTimeZone, log_key
from kefu_reporting.domain.daily import By, Filter, Sums, total
from kefu_reporting.handlers.tickets import on_tickets
from kefu_reporting.store import daily_sums
from kefu_reporting.store.ticket_inbox import keep_new
from tests.reporting.builders import TicketStory, a_ticket, at, counted_in
from tests.reporting.service import until

WRONG_SUMS = """
with
is_daily as (
    select account, day, site, channel, kind, category, group_id, agent, opened, offered, answered, abandoned, refused,
        resolved, messages_left, first_replies, wait_ms, first_reply_ms, handling_ms
    from daily
),
should_be as (
    select account, day, site, channel, kind, category, group_id, agent,
        count(*) filter (where measure = 'opened'), count(*) filter (where measure = 'offered'),
        count(*) filter (where measure = 'answered'), count(*) filter (where measure = 'abandoned'),
        count(*) filter (where measure = 'refused'), count(*) filter (where measure = 'resolved'),
        count(*) filter (where measure = 'message_left'), count(*) filter (where measure = 'first_reply'),
        coalesce(sum(ms) filter (where measure = 'answered'), 0),
        coalesce(sum(ms) filter (where measure = 'first_reply'), 0),
        coalesce(sum(ms) filter (where measure = 'resolved'), 0)
    from counted group by 1, 2, 3, 4, 5, 6, 7, 8
)
(select * from is_daily except select * from should_be)
union all (select * from should_be except select * from is_daily)
"""
"""The guarantee as a query that returns the offenders: every sum is that of what counts at present."""


def received(events: Sequence[TicketEvent]) -> list[Received]:  # type: ignore[type-arg]
    return [Received(event, Record("kefu.tickets.v1", 0, 0, 0, event.subject, b"", ())) for event in events]


async def sums_in(database: Database) -> dict[tuple[object, ...], Sums]:
    rows = await database.pool.fetch("select * from daily")
    return {tuple(row)[:8]: Sums(*tuple(row)[8:]) for row in rows}


def expected(events: Sequence[TicketEvent]) -> dict[tuple[object, ...], Sums]:
    return {
        (c.account, c.day, c.site, c.channel, c.kind, c.category, c.group, c.agent): sums
        for c, sums in counted_in([events]).items()
    }


async def somebody_waits(database: Database) -> bool:
    """Whether a transaction of this database waits for a lock."""
    return bool(
        await database.pool.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
    )


def a_full_story(number: int) -> TicketStory:
    story = a_ticket(channel=random.Random(number).choice(list(Channel))).opened(at(1)).message_received(at(1))
    story.queued(at(1)).offered(at(1), "a01").offered(at(2), "a02").assigned(at(2), "a02", 60.5)
    story.replied(at(3), "a02", 90.25).transferred(at(4), "a02", "after-sale").becomes(group="after-sale")
    story.resolved(at(5), "a05", 100).becomes(category=None).message_received(at(15))
    return story.resolved(at(17), "a06", 100 + number)


async def test_the_tables_are_the_same_in_whatever_order_the_events_come(database: Database) -> None:
    stories = [a_full_story(number) for number in range(40)]
    events = [event for story in stories for event in story.events]
    shuffled = events * 2
    random.Random(7).shuffle(shuffled)
    for start in range(0, len(shuffled), 37):
        await on_tickets(received(shuffled[start : start + 37]), database)

    assert await sums_in(database) == expected(events)
    assert await database.pool.fetch(WRONG_SUMS) == []
    gaps = "select from tickets where seen <> int4multirange(int4range(1, $1, '[]'))"
    assert await database.pool.fetch(gaps, len(stories[0].events)) == []


async def test_the_inbox_keeps_an_event_once_and_knows_it_again(database: Database) -> None:
    story = a_full_story(1)
    first, second, third, *_ = [log_key(event) for event in story.events]
    async with database.transaction() as tx:
        kept = [await keep_new(tx, keys) for keys in ([third, third], [first, third], [], [first, second, third])]

    assert kept == [{third}, {first}, set(), {second}]


async def test_processes_that_read_the_same_at_once_count_it_once(database: Database) -> None:
    events = [event for number in range(60) for event in a_full_story(number).events]

    async def read_all(seed: int) -> None:
        shuffled = list(events)
        random.Random(seed).shuffle(shuffled)
        for start in range(0, len(shuffled), 50):
            while True:
                try:
                    await on_tickets(received(shuffled[start : start + 50]), database)
                    break
                except Exception as error:
                    if not passes(error):
                        raise

    await asyncio.gather(*(read_all(seed) for seed in range(4)))

    assert await sums_in(database) == expected(events)
    assert await database.pool.fetch(WRONG_SUMS) == []


async def test_who_reads_the_same_event_meanwhile_waits_and_finds_it_counted(database: Database) -> None:
    story = a_ticket().opened(at(1)).offered(at(1), "a01")
    await on_tickets(received(story.events[:1]), database)
    async with database.transaction() as first:
        await first.execute("select from tickets for update")
        second = asyncio.create_task(on_tickets(received(story.events), database))
        await until(lambda: somebody_waits(database), "the second waits for the ticket")
        assert await keep_new(first, [log_key(story.events[1])]) == {log_key(story.events[1])}
    await second

    assert await sums_in(database) == expected(story.events[:1])


async def test_tickets_are_locked_in_order_whatever_the_order_of_a_batch(database: Database) -> None:
    low, high = (a_ticket(ticket=UUID(int=number)).opened(at(1)).offered(at(1), "a01") for number in (1, 2))
    await on_tickets(received([low.events[0], high.events[0]]), database)
    async with database.transaction() as other:
        await other.execute("select from tickets where ticket = $1 for update", low.ticket)
        batch = asyncio.create_task(on_tickets(received([high.events[1], low.events[1]]), database))
        await until(lambda: somebody_waits(database), "the batch waits for the lower ticket")
        # Or it would have to wait for us and we for it.
        await other.execute("select from tickets where ticket = $1 for update nowait", high.ticket)
    await batch


async def test_cells_are_locked_in_order_whatever_the_order_of_a_batch(database: Database) -> None:
    low, high = (a_ticket(site=site).opened(at(1)) for site in ("a", "b"))
    await on_tickets(received([*low.events, *high.events]), database)
    more = {cell: Sums(opened=1) for cell in sorted(counted_in([[*low.events, *high.events]]), reverse=True)}

    async def add() -> None:
        async with database.transaction() as tx:
            await daily_sums.add(tx, more)

    async with database.transaction() as other:
        await other.execute("select from daily where site = 'a' for update")
        batch = asyncio.create_task(add())
        await until(lambda: somebody_waits(database), "the batch waits for the lower cell")
        await other.execute("select from daily where site = 'b' for update nowait")
    await batch


async def test_a_cell_in_which_nothing_is_left_goes(database: Database) -> None:
    story = a_ticket().resolved(at(1), "a01", 60).resolved(at(1, day=24), "a02", 90)
    for event in story.events:
        await on_tickets(received([event]), database)

    assert [cell[1] for cell in await sums_in(database)] == [date(2026, 11, 24)]


async def test_accounts_with_the_same_ids_are_counted_apart(database: Database) -> None:
    ticket = UUID(int=1)
    acme = a_ticket("acme", ticket).opened(at(1)).offered(at(1), "a01")
    bolt = a_ticket("bolt", ticket).opened(at(1))
    await on_tickets(received([*acme.events, *bolt.events]), database)

    found = {}
    for account in ("acme", "bolt", "nobody"):
        sums = await daily_sums.read(database.pool, Filter(account, date(2026, 11, 23)), By.SITE)  # type: ignore[arg-type]
        found[account] = total(sums.values())
    assert found == {"acme": Sums(opened=1, offered=1), "bolt": Sums(opened=1), "nobody": Sums()}


async def test_a_batch_that_fails_leaves_nothing_behind(database: Database) -> None:
    good, bad = a_ticket().opened(at(1)), a_ticket(time_zone="Asia/Nowhere").opened(at(1))

    with pytest.raises(UnknownTimeZone):
        await on_tickets(received([*good.events, *bad.events]), database)

    assert await sums_in(database) == {}
    await on_tickets(received(good.events), database)
    assert await sums_in(database) == expected(good.events)
