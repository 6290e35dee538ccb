"""Timers: the same work every so often, for as long as the process lives."""

import asyncio
from collections.abc import Awaitable, Callable

from kefu_common.postgres.database import passes
from kefu_common.telemetry import logs

log = logs.get(__name__)


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work again and again until cancelled; waits out a database that is away."""
    while True:
        try:
            await work()
        except Exception as error:
            if not passes(error):
                raise
            log.warning("timer_waits", error=type(error).__name__)
        await asyncio.sleep(seconds)
