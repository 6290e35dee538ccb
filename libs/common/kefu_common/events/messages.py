"""`message.wanted` of `kefu.messages.v1`: what people must be told. Private, 7 days.

By which channel and in which words is for notifications to decide.
"""

from uuid import UUID

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Channel, Occasion


class ContactAddress(EventData):
    """How the contact can be reached."""

    email: str | None = None
    phone: str | None = None


class MessageWanted(EventData):
    """Someone must be told something: `roles` (staff by role), `to` (the contact), or an agent about themselves."""

    occasion: Occasion
    ticket: UUID | None = None
    """None when it is about no ticket; so are `contact` and `channel` then."""
    contact: UUID | None = None
    channel: Channel | None = None
    roles: list[str] = []
    to: ContactAddress | None = None
    agent: str | None = None
    message: UUID | None = None
    """Routing's id of the reply that this carries, so that its state can be moved."""
    text: str
    """Of a password reset: what opens it, sealed; it is opened at the moment of sending."""
    subject: str | None = None
    thread: list[str] | None = None
    """Of an e-mail that is answered: the first and the last Message-ID of its thread, without angle brackets."""
    name: str | None = None
    """The contact's name, if known."""
    reachable: str | None = None
    """How the contact says they can be reached: for the staff who are told of an offline message."""


MESSAGE_MODELS: dict[str, type[MessageWanted]] = {"kefu.message.wanted": MessageWanted}
"""Every type on the topic and its data, by full name."""
