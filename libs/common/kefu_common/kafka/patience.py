"""Waiting out what passes: a database that restarts, a Kafka that does not confirm."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kefu_common.kafka.producer import NotConfirmed
from kefu_common.postgres.database import passes
from kefu_common.telemetry import logs, metrics
from kefu_common.waking import is_set_within

log = logs.get(__name__)
T = TypeVar("T")

_LONGEST_WAIT_S = 5.0


class Patience:
    """Runs work again while its error is one that passes, until the consumer is stopped."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._waiting_since: float | None = None
        self.stopping = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """What is waited for, once it takes more than a second."""
        since = self._waiting_since
        if since is not None and time.monotonic() - since > 1:
            return f"{self._topic}: waiting for the database or Kafka"
        return None

    async def until_it_passes(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`. Raises its error if that is none that passes, `CancelledError` on a stop."""
        wait_s = 0.05
        while True:
            try:
                result = await work()
            except Exception as error:
                if not (passes(error) or isinstance(error, NotConfirmed)):
                    self._waiting_since = None
                    raise
                self._waiting_since = self._waiting_since or time.monotonic()
                metrics.BATCH_RETRIES.labels(self._topic).inc()
                log.warning("batch_waits", topic=self._topic, error=logs.described(error))
                await self.pause(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            else:
                self._waiting_since = None
                return result

    async def pause(self, seconds: float) -> None:
        """Wait with jitter; a stop ends the wait, and the work in hand is left for the next start."""
        if await is_set_within(self.stopping, seconds * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
            raise asyncio.CancelledError
