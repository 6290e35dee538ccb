"""Telling everybody what became of messages: events of `kefu.deliveries.v1`, without addresses or texts."""

from collections.abc import Iterable
from datetime import datetime

from kefu_common.events.deliveries import (
    DeliveryData,
    MessageFailed,
    MessageHeld,
    MessagePlanned,
    MessageSent,
)
from kefu_common.events.envelope import Event
from kefu_common.ids import new_id
from kefu_common.kafka.topics import DELIVERIES
from kefu_common.postgres import outbox
from kefu_common.postgres.database import Connection
from kefu_common.postgres.outbox import Row, event_row
from kefu_notifications.domain.planning import State
from kefu_notifications.store.messages import Message


async def add(tx: Connection, messages: Iterable[Message], now: datetime) -> None:
    """Say each message's present state, in the transaction that made it so."""
    await outbox.add(tx, [_row(message, now) for message in messages])


def _row(message: Message, now: datetime) -> Row:
    name, data = _data(message)
    event: Event[DeliveryData] = Event(
        id=new_id(),
        type=name,
        source=f"/sites/{message.site}" if message.site else "/people",
        subject=str(message.id),
        time=now,
        account=message.account,
        data=data,
        traceparent=message.traceparent,
    )
    return event_row(DELIVERIES, str(message.id), event)


def _data(message: Message) -> tuple[str, DeliveryData]:
    common = DeliveryData(
        message=message.id,
        site=message.site,
        ticket=message.ticket,
        agent=message.agent,
        reply=message.reply,
        occasion=message.occasion,
        medium=message.medium,
        segments=message.segments,
        cost_fen=message.cost_fen,
    )
    fields = common.model_dump()
    reason = message.reason.value if message.reason is not None else "unknown"
    match message.state:
        case State.PLANNED | State.SENDING:
            return "kefu.message.planned", MessagePlanned(**fields)
        case State.SENT:
            return "kefu.message.sent", MessageSent(**fields)
        case State.HELD:
            return "kefu.message.held", MessageHeld(**fields, reason=reason)
        case State.FAILED:
            return "kefu.message.failed", MessageFailed(**fields, reason=reason)
