"""Instructions of `kefu.outbound.v1`: what Kefu asks channel adapters to do. Private, 7 days.

`subject` is the interaction, `adapter` the adapter that posted it. The event's id is the instruction's id:
outcomes name it. Nothing may be done after `expires_at`.
"""

from uuid import UUID

from pydantic import AwareDatetime

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Channel


class Instruction(EventData):
    """What every instruction says."""

    ticket: UUID
    contact: UUID
    channel: Channel
    expires_at: AwareDatetime


class CallRing(Instruction):
    """Ring this agent for the call; it is answered by `call.answered`."""

    agent: str
    phone: str | None = None
    offer: UUID
    fence: int


class CallCancel(Instruction):
    """Stop ringing this agent: the offer is over."""

    agent: str
    phone: str | None = None
    offer: UUID
    fence: int


class CallPlay(Instruction):
    """Say this text to the caller."""

    text: str


class CallHangUp(Instruction):
    """End the call."""


class ChatSay(Instruction):
    """Show this text to the visitor; `staff` is the staff number of the agent, or `auto`."""

    text: str
    staff: str
    message: UUID | None = None


class ChatAssigned(Instruction):
    """An agent has taken the chat."""

    staff: str


class ChatRefused(Instruction):
    """The chat is not taken; `text` tells the visitor what to do instead."""

    reason: str
    text: str | None = None


class ChatClose(Instruction):
    """The chat is over."""


OUTBOUND_MODELS: dict[str, type[Instruction]] = {
    "kefu.call.ring": CallRing,
    "kefu.call.cancel": CallCancel,
    "kefu.call.play": CallPlay,
    "kefu.call.hang_up": CallHangUp,
    "kefu.chat.say": ChatSay,
    "kefu.chat.assigned": ChatAssigned,
    "kefu.chat.refused": ChatRefused,
    "kefu.chat.close": ChatClose,
}
"""Every type on the topic and its data, by full name."""

TYPE_OF_INSTRUCTION: dict[type[Instruction], str] = {model: name for name, model in OUTBOUND_MODELS.items()}
