"""Waiting for news, but not for ever."""

import asyncio


async def until_woken(awake: asyncio.Event, at_most_s: float) -> None:
    """Return when the event is set or the time is over; the event is cleared."""
    try:
        await asyncio.wait_for(awake.wait(), at_most_s)
    except TimeoutError:
        return
    finally:
        awake.clear()
