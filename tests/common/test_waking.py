"""Waiting for an event, and ending tasks, whatever comes at the same moment."""

import asyncio

from kefu_common.waking import end, is_set_within, until_woken


async def test_waiting_tells_whether_the_event_came_in_time() -> None:
    event = asyncio.Event()
    assert not await is_set_within(event, 0.01)
    event.set()
    assert await is_set_within(event, 0)


async def test_a_cancellation_that_comes_with_the_news_is_not_swallowed() -> None:
    awake = asyncio.Event()
    rounds = 0

    async def waits_for_ever() -> None:
        nonlocal rounds
        while True:
            await until_woken(awake, 60)
            rounds += 1

    task = asyncio.create_task(waits_for_ever())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    awake.set()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert (task.cancelled(), rounds) == (True, 0)


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def swallows_one() -> None:
        nonlocal swallowed
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed += 1
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(swallows_one()) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(tasks)
    assert (swallowed, [task.cancelled() for task in tasks]) == (2, [True, True])
