"""Waiting for news, but not for ever; and ending what waits.

Never by `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes together with its result, and
whoever cancelled waits for ever. `make check` refuses it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_S: Final = 2.0


async def is_set_within(event: asyncio.Event, at_most_s: float) -> bool:
    """Whether the event is set, now or in time."""
    try:
        async with asyncio.timeout(at_most_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def until_woken(awake: asyncio.Event, at_most_s: float) -> None:
    """Return when the event is set or the time is over; the event is cleared."""
    try:
        await is_set_within(awake, at_most_s)
    finally:
        awake.clear()


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks and return when all have ended: cancelled again where a library swallowed it."""
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_AGAIN_S)
