"""Events of `kefu.deliveries.v1`: what became of messages to people. Public, so no address and no text."""

from uuid import UUID

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Medium, Occasion


class DeliveryData(EventData):
    """What every delivery event says. `subject` of the event is the message's id."""

    message: UUID
    """Notifications' id of the message."""
    site: str
    ticket: UUID | None = None
    agent: str | None = None
    reply: UUID | None = None
    """Routing's id of the reply that was sent, if it is one."""
    occasion: Occasion
    medium: Medium
    segments: int = 0
    cost_fen: int = 0


class MessagePlanned(DeliveryData):
    """It will be sent."""


class MessageSent(DeliveryData):
    """The provider took it."""


class MessageDelivered(DeliveryData):
    """It reached the person's device or mailbox."""


class MessageFailed(DeliveryData):
    """It will not be sent again by itself; `reason` is a closed word."""

    reason: str


class MessageHeld(DeliveryData):
    """It waits for something: `reason` is `no_signature` or `no_credit`."""

    reason: str


DELIVERY_MODELS: dict[str, type[DeliveryData]] = {
    "kefu.message.planned": MessagePlanned,
    "kefu.message.sent": MessageSent,
    "kefu.message.delivered": MessageDelivered,
    "kefu.message.failed": MessageFailed,
    "kefu.message.held": MessageHeld,
}
"""Every type on the topic and its data, by full name."""
