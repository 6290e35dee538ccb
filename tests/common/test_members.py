"""Members of a group are killed, join and leave: nothing is lost, and everything takes effect once."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.common.harness import SERVICE, Bench, eventually, ticked

Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def spawn(bench: Bench) -> AsyncIterator[Spawn]:
    """Starts members; what still runs is killed after the test."""
    running: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.common.member", *arguments),
            env=os.environ | bench.world.env(SERVICE),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process, what: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while (await process.stdout.readline()).decode().strip() != what:
            assert process.returncode is None


async def test_a_member_killed_between_commit_and_ack_reads_again_and_nothing_takes_effect_twice(
    bench: Bench, spawn: Spawn
) -> None:
    await bench.post(*(ticked(n) for n in range(10)))
    hanging = await spawn("0", "hang")
    await said(hanging, "committed")
    count = len(await bench.applied())
    assert count > 0
    hanging.kill()
    await hanging.wait()

    again = bench.consuming()
    await again.consumer.start()

    async def are_committed() -> bool:
        return await bench.committed(again.consumer) == 10

    await eventually(are_committed, 30)
    assert await bench.applied() == list(range(10))
    assert again.tries[0] == 1, "the offsets were committed before the transaction's end was known"


async def test_a_killed_member_is_back_in_its_slot_within_five_seconds(bench: Bench, spawn: Spawn) -> None:
    first = await spawn("0")
    await said(first, "started")
    await bench.post(ticked(1))

    async def has(numbers: list[int]) -> bool:
        return await bench.applied() == numbers

    await eventually(lambda: has([1]))
    first.kill()
    await first.wait()
    await bench.post(ticked(2))

    again = bench.consuming(slot="0")
    began = time.monotonic()
    await again.consumer.start()
    await eventually(lambda: has([1, 2]), 20)

    assert time.monotonic() - began < 5


async def test_members_that_join_leave_and_are_killed_under_load_lose_and_repeat_nothing(
    bench: Bench, spawn: Spawn
) -> None:
    keys, enough, count = 40, asyncio.Event(), 0
    stays = bench.consuming(slot="0", batch_size=20, takes_s=0.01)
    await stays.consumer.start()

    async def load() -> None:
        nonlocal count
        while not enough.is_set():
            await bench.post(*(ticked(n, f"k{n % keys}") for n in range(count, count + 50)))
            count += 50

    loading = asyncio.create_task(load())
    killed = await spawn("1")
    await said(killed, "started")
    joins = bench.consuming(slot="2", batch_size=20, takes_s=0.01)
    await joins.consumer.start()
    await eventually(lambda: bool(joins.tries), 30)
    killed.kill()
    await killed.wait()
    await joins.consumer.stop()
    seen = len(joins.tries)
    enough.set()
    await loading

    async def are_all_applied() -> bool:
        return len(await bench.applied()) >= count

    # Two members vanished without a word: their partitions come back when their sessions end.
    await eventually(are_all_applied, 60)
    assert seen > 0
    assert sorted(await bench.applied()) == list(range(count))
    for key in range(keys):
        numbers = await bench.applied(f"k{key}")
        assert numbers == sorted(numbers)
    assert await bench.letters() == []
    assert not stays.broken
    assert not joins.broken
