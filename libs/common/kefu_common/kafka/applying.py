"""Applying a batch: one transaction when all is well; when an event fails, that one alone is tried and set aside."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from kefu_common.kafka.batch import Received
from kefu_common.kafka.dead_letters import FAILED, FOLLOWS, SetAside
from kefu_common.kafka.patience import Patience
from kefu_common.kafka.topics import Topic
from kefu_common.telemetry import logs

log = logs.get(__name__)
D = TypeVar("D", bound=BaseModel)
Apply = Callable[[Sequence[Received[D]]], Awaitable[None]]

ATTEMPTS = 5
"""How often an event that can be read but fails is tried."""
IN_A_ROW = 10
"""After so many failed events in a row it is our code that is broken."""
_FIRST_PAUSE_S = 0.2


class BrokenConsumer(Exception):
    """Several events in a row failed: our code is broken, not the events. The process must stop."""


@dataclass(frozen=True, slots=True)
class Source(Generic[D]):
    """One topic and what it may carry, applied by `apply`: one transaction, which may be run again."""

    topic: Topic
    models: dict[str, type[D]]
    apply: Apply[D]
    gather_s: float = 0.0
    """Where nobody waits for the effect: how long events gather between batches, for fewer and larger transactions.

    A batch that was full is followed by the next at once.
    """


class Applying(Generic[D]):
    """Applies the batches of one source."""

    def __init__(self, source: Source[D], patience: Patience) -> None:
        self._source = source
        self._patience = patience
        self._failed_in_a_row = 0

    async def apply(self, events: Sequence[Received[D]]) -> list[SetAside]:
        """Apply in one transaction; when that fails for a reason of the events, halve to find which one.

        Returns what could not be applied, in order. Raises `BrokenConsumer`.
        """
        if not events:
            return []
        try:
            await self._patience.until_it_passes(lambda: self._source.apply(events))
        except Exception as error:  # noqa: BLE001 - the outermost loop decides: halve, retry or set aside
            if len(events) == 1:
                return await self._retry_one(events[0], error)
            middle = len(events) // 2
            asides = await self.apply(events[:middle])
            failed = {a.record.key for a in asides}
            rest = [e for e in events[middle:] if e.record.key not in failed]
            asides += [SetAside(e.record, FOLLOWS) for e in events[middle:] if e.record.key in failed]
            return asides + await self.apply(rest)
        self._failed_in_a_row = 0
        return []

    async def _retry_one(self, event: Received[D], error: Exception) -> list[SetAside]:
        for attempt in range(ATTEMPTS - 1):
            await self._patience.pause(_FIRST_PAUSE_S * 2**attempt)
            try:
                await self._patience.until_it_passes(lambda: self._source.apply([event]))
            except Exception as again:  # noqa: BLE001 - as in apply
                error = again
            else:
                self._failed_in_a_row = 0
                return []
        self._failed_in_a_row += 1
        why = logs.described(error)
        log.error("event_failed", event_id=str(event.event.id), type=event.event.type, error=why)
        if self._failed_in_a_row >= IN_A_ROW:
            raise BrokenConsumer(f"{IN_A_ROW} events in a row failed, the last with {why}; nothing was skipped")
        return [SetAside(event.record, FAILED, type(error).__name__)]
