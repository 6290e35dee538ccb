"""What a batch holds besides fresh events: repeats are counted, a known id with another body is set aside."""

from typing import TypeVar

from pydantic import BaseModel

from kefu_common.kafka.dead_letters import SetAside, dead_letter_row
from kefu_common.postgres import outbox
from kefu_common.postgres.database import Connection
from kefu_common.postgres.inbox import Sifted
from kefu_common.telemetry import metrics

D = TypeVar("D", bound=BaseModel)


async def set_reused_aside(tx: Connection, sifted: Sifted[D]) -> None:
    """Write the dead letters of reused ids through the outbox, and count. Source: design, section 4."""
    for received in sifted.repeated:
        metrics.DUPLICATES.labels(received.record.topic).inc()
    for received in sifted.reused:
        metrics.ID_REUSED.labels(received.event.adapter or "none").inc()
        metrics.DEAD_LETTERS.labels(received.record.topic, "id_reused").inc()
    await outbox.add(tx, [dead_letter_row("notifications", SetAside(r.record, "id_reused")) for r in sifted.reused])
