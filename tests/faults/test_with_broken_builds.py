"""The checks are checked: builds that are broken, killed right where they lose or repeat, must be caught.

Last by its name among those that share the stack: what a broken build lost is recorded nowhere, and takes effect after
all when a consumer reads its partition from the beginning, as it does when Kafka was killed together with its offsets.
"""

import random

import pytest

from tests.faults import checks
from tests.faults.conftest import Killable
from tests.faults.killing import Killer
from tests.faults.load import working
from tests.faults.record import Story
from tests.faults.state import before, collect, until_quiet


async def _offenders(killable: Killable, seed: int, broken: str | None, point: str) -> dict[str, list[str]]:
    """Some chats on a closed site, while routing is killed at the point, with the first of them in hand."""
    stack = killable.stack.describe()
    await until_quiet(stack, within_s=60)
    began = await before(stack)
    killer = Killer(killable.stack, killable.orders, random.Random(seed))
    async with working(stack, seed, agents=()) as load:
        # An event that is lost and happens to be posted again would not be missed.
        load.repeated_share = 0.0
        with killable.orders.build("routing", broken):
            for _ in range(5):
                load.begin(Story.REFUSED)
            await killer.at_point("routing", point)
        await load.posted(within_s=60)
        await until_quiet(stack, within_s=60)
        return checks.offenders(load.record, await collect(stack, load.record, began))


async def test_the_checks_find_nothing_in_the_sound_build(killable: Killable, seed: int) -> None:
    assert await _offenders(killable, seed, None, "before_batch_commit") == {}


async def test_the_checks_catch_a_build_that_acks_first(killable: Killable, seed: int) -> None:
    found = await _offenders(killable, seed, "acks_first", "before_batch_commit")
    assert "each_message_is_kept_once_in_order" in found


async def test_the_checks_catch_a_build_whose_inbox_is_outside_the_transaction(killable: Killable, seed: int) -> None:
    found = await _offenders(killable, seed, "inbox_outside", "before_batch_commit")
    assert "each_message_is_kept_once_in_order" in found


@pytest.mark.long
async def test_the_checks_catch_a_build_without_an_inbox(killable: Killable, seed: int) -> None:
    found = await _offenders(killable, seed, "no_inbox", "after_batch_commit")
    assert {"each_message_is_kept_once_in_order", "nothing_is_left_over"} & set(found)


@pytest.mark.long
async def test_the_checks_catch_a_build_that_empties_its_outbox_before_it_sends(killable: Killable, seed: int) -> None:
    found = await _offenders(killable, seed, "deletes_first", "before_send")
    assert "ticket_events_have_no_gap" in found
