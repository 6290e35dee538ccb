"""Any part killed (-9) under load and started again: nothing lost, nothing twice."""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.e2e.kefu import until
from tests.faults import checks
from tests.faults.conftest import Killable
from tests.faults.killing import Killer
from tests.faults.load import Load, working
from tests.faults.state import Before, agents_states, before, collect, until_handled, until_quiet


async def test_nothing_is_lost_and_nothing_happens_twice_whatever_is_killed(killable: Killable, seed: int) -> None:
    killer = Killer(killable.stack, killable.orders, random.Random(seed))
    kill = killer.round(points=4, most=4, pause_s=(0.5, 2))
    await _survives(killable, seed, killer, kill, least=150, per_s=8)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_nothing_is_lost_in_ten_rounds_of_kills_or_as_many_as_five_minutes_hold(
    killable: Killable, seed: int
) -> None:
    killer = Killer(killable.stack, killable.orders, random.Random(seed))

    async def kill() -> None:
        ends = time.monotonic() + 300
        for _ in range(10):
            if time.monotonic() < ends:
                await killer.round(points=6, most=20, pause_s=(0.5, 5))

    await _survives(killable, seed, killer, kill(), least=1000, per_s=8)


async def _survives(
    killable: Killable,
    seed: int,
    killer: Killer,
    kill: Coroutine[Any, Any, None],
    *,
    least: int,
    per_s: float,
) -> None:
    stack = killable.stack.describe()
    await until_quiet(stack, within_s=60)
    began, errors, deaths = await before(stack), len(killable.errors()), len(killable.deaths_of_their_own())
    async with working(stack, seed) as load:
        killing = asyncio.create_task(kill)
        try:
            await load.run(least, per_s, goes_on=lambda: not killing.done())
            await killing
        finally:
            killing.cancel()
        found = await _offenders(killable, load, began)
        print(load.record.summary(), load.record.count(), f"kills: {len(killer.kills)}", *killer.kills, sep="\n")
    assert found == {}
    assert killable.deaths_of_their_own()[deaths:] == []
    assert killable.errors()[errors:] == []


async def _offenders(killable: Killable, load: Load, began: Before) -> dict[str, list[str]]:
    """What the checks find once nothing moves any more; what keeps moving is found too."""
    stack, record = killable.stack.describe(), load.record
    late = []
    try:
        await until_handled(stack, record, within_s=90)
        await load.posted(within_s=60)
        await until_quiet(stack, within_s=60)
    except (AssertionError, TimeoutError) as error:
        late += [repr(error), f"agents: {await agents_states(stack)}"]
    state = await collect(stack, record, began)

    async def is_seen() -> bool:
        return not checks.the_tickets_stream_has_no_gap(record, state)

    try:
        await until("the stream has shown what there is", is_seen, within_s=20)
    except AssertionError as error:
        late.append(repr(error))
    found = checks.offenders(record, state)
    return {**found, "late": late} if late else found
