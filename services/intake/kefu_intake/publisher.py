"""Handing events to Kafka: a bounded window in flight, 5 s for the confirmation, and no waiting while it fails."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from aiokafka.errors import KafkaError

from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_common.service import until_up
from kefu_common.telemetry import metrics

CONFIRM_WITHIN_S: Final = 5.0
_ASK_EVERY_S: Final = 1.0
_ANSWER_WITHIN_S: Final = 3.0


class Fate(StrEnum):
    """What became of a record."""

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    """Unknown: it may have been written. Posting it again is safe."""
    NO_ROOM = "no_room"
    """Not tried: too much is in flight."""


class Publisher:
    """Publishes records and knows whether Kafka is there."""

    def __init__(self, producer: EventProducer, most_events: int, most_bytes: int) -> None:
        self._producer = producer
        self._free_events = most_events
        self._free_bytes = most_bytes
        self._has_started = False
        self._answers = False
        metrics.IN_FLIGHT.set_function(lambda: most_events - self._free_events)

    @property
    def problem(self) -> str | None:
        """Why it cannot publish, for /readyz."""
        return None if self._answers else "kafka: no broker answers"

    async def publish(self, records: Sequence[Outgoing]) -> list[Fate]:
        """Write the records in order. What became of each is known within 5 s; at once while Kafka does not confirm."""
        if not self._has_started or not self._producer.may_try():
            return [Fate.UNCONFIRMED] * len(records)
        taken, size = self._take(records)
        try:
            confirmed = await self._producer.confirm(records[:taken], CONFIRM_WITHIN_S)
        finally:
            self._free_events += taken
            self._free_bytes += size
        fates = [Fate.CONFIRMED if each else Fate.UNCONFIRMED for each in confirmed]
        return fates + [Fate.NO_ROOM] * (len(records) - taken)

    async def stay_connected(self) -> None:
        """Connect as soon as a broker answers, then ask again and again whether it still does; until cancelled."""
        await until_up("kafka", self._producer.start, lambda error: isinstance(error, KafkaError | OSError))
        self._has_started = True
        while True:
            self._answers = await self._producer.answers(_ANSWER_WITHIN_S)
            await asyncio.sleep(_ASK_EVERY_S)

    async def stop(self) -> None:
        """Flush and close."""
        await self._producer.stop(timeout_s=CONFIRM_WITHIN_S)

    def _take(self, records: Sequence[Outgoing]) -> tuple[int, int]:
        # A prefix, never a selection: what is refused comes again later, and must not be overtaken.
        taken = size = 0
        for record in records:
            more = len(record.value)
            if taken == self._free_events or size + more > self._free_bytes:
                break
            taken += 1
            size += more
        self._free_events -= taken
        self._free_bytes -= size
        return taken, size
