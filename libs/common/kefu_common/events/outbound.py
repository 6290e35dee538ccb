"""Instructions of `kefu.outbound.v1`: what Kefu asks channel adapters to do. Private, 7 days.

`subject` is the interaction, `adapter` the adapter that posted it. The event's id is the instruction's id:
outcomes name it. Nothing may be done after `expires_at`.
"""

from uuid import UUID

from pydantic import AwareDatetime, Field

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Channel


class Instruction(EventData):
    """What every instruction says. Only an invitation is about no ticket."""

    ticket: UUID | None = None
    contact: UUID | None = None
    channel: Channel
    expires_at: AwareDatetime


class TicketInstruction(Instruction):
    """One about a ticket."""

    ticket: UUID
    contact: UUID


class CallRing(TicketInstruction):
    """Ring this agent for the call; it is answered by `call.answered`."""

    agent: str
    phone: str | None = None
    offer: UUID
    fence: int


class CallCancel(TicketInstruction):
    """Stop ringing this agent: the offer is over."""

    agent: str
    phone: str | None = None
    offer: UUID
    fence: int


class CallPlay(TicketInstruction):
    """Say this text to the caller."""

    text: str


class CallHangUp(TicketInstruction):
    """End the call."""


class ChatSay(TicketInstruction):
    """Show this text to the visitor; `staff` is the staff number of the agent, or `auto`."""

    text: str
    staff: str
    message: UUID | None = None


class ChatAssigned(TicketInstruction):
    """An agent has taken the chat."""

    staff: str


class ChatPosition(TicketInstruction):
    """The visitor's place in the queue, 1 being the next, and how long it will take if that can be known."""

    position: int = Field(ge=1)
    estimated_wait_s: float | None = None


class ChatInvite(Instruction):
    """Ask the visitor who looks at a page whether they want to chat; a `chat.started` of the interaction says yes."""

    text: str
    invitation: UUID
    agent: str | None = None
    """The staff number of the agent who asks; none: a rule of the plan does."""


class ChatRefused(TicketInstruction):
    """The chat is not taken; `text` tells the visitor what to do instead."""

    reason: str
    text: str | None = None


class ChatClose(TicketInstruction):
    """The chat is over."""


OUTBOUND_MODELS: dict[str, type[Instruction]] = {
    "kefu.call.ring": CallRing,
    "kefu.call.cancel": CallCancel,
    "kefu.call.play": CallPlay,
    "kefu.call.hang_up": CallHangUp,
    "kefu.chat.say": ChatSay,
    "kefu.chat.assigned": ChatAssigned,
    "kefu.chat.position": ChatPosition,
    "kefu.chat.invite": ChatInvite,
    "kefu.chat.refused": ChatRefused,
    "kefu.chat.close": ChatClose,
}
"""Every type on the topic and its data, by full name."""

TYPE_OF_INSTRUCTION: dict[type[Instruction], str] = {model: name for name, model in OUTBOUND_MODELS.items()}
