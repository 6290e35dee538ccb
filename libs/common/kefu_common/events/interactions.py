"""Events of `kefu.interactions.v1`: what adapters tell us, after intake checked and stamped it. Private."""

from typing import Annotated, Final, Literal

from pydantic import Field

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Auto

STAMPED: Final = "stamped by intake"
"""Marks fields that intake fills in: no adapter may send them."""
BODY: Final = "as long as an event may be"
"""Marks texts that have no bound of their own."""
Given = Annotated[dict[str, str] | None, STAMPED]
"""What the adapter sent, by the names of those fields that intake made uniform and that looked different before."""


class ContactClaim(EventData):
    """Who the adapter says the contact is; phones in E.164 and addresses in one spelling, where they can be read."""

    external_id: str | None = None
    name: str | None = None
    phone: str | None = None
    email: str | None = None
    tier: str | None = None
    given: Given = None


class AttachmentRef(EventData):
    """A file that was stored before: the reference, the name to show, and what intake knows of its content."""

    ref: str
    name: str | None = None
    type: Annotated[str | None, STAMPED] = None
    size: Annotated[int | None, STAMPED] = None
    sha256: Annotated[str | None, STAMPED] = None
    content_id: Annotated[str | None, STAMPED] = None
    """Of an image that the HTML shows by `cid:`."""


class InteractionData(EventData):
    """What every interaction event may say."""

    source: str | None = None
    """Where the contact came from (渠道), in the customer's own words."""
    category: str | None = None
    contact: ContactClaim | None = None


class CallStarted(InteractionData):
    """A call came in; `to` is the number that was dialled, `from` the caller's, `ringing_s` how long it rang so far."""

    to: str | None = None
    from_: str | None = Field(default=None, alias="from")
    ringing_s: float | None = None
    given: Given = None


class CallAnswered(InteractionData):
    """An agent picked up: this is the accept."""

    agent: str


class CallHeld(InteractionData):
    """The contact was put on hold."""


class CallResumed(InteractionData):
    """The hold ended."""


class CallTransferred(InteractionData):
    """The switch moved the call; `to` is an agent's id or phone."""

    to: str


class CallEnded(InteractionData):
    """The call is over; `cause` as the switch names it, `recording` a reference to it."""

    cause: str | None = None
    duration_s: float | None = None
    recording: str | None = None


class ChatStarted(InteractionData):
    """A visitor opened a chat on `page`."""

    page: str | None = None


class ChatMessage(InteractionData):
    """The visitor wrote."""

    text: str = ""
    attachments: list[AttachmentRef] = Field(default_factory=list)
    from_: Literal["contact"] = Field(default="contact", alias="from")


class ChatEnded(InteractionData):
    """The chat is over; `by` says who ended it."""

    by: str | None = None


class EmailReceived(InteractionData):
    """An e-mail of the thread that the interaction is."""

    subject: str | None = None
    text: Annotated[str | None, BODY] = None
    html: Annotated[str | None, BODY] = None
    headers: dict[str, str | list[str]] = Field(default_factory=dict)
    attachments: list[AttachmentRef] = Field(default_factory=list)
    """A text or HTML over 256 KiB is among them too, whole."""
    message_id: Annotated[str | None, STAMPED] = None
    references: Annotated[list[str] | None, STAMPED] = None
    """The ids of the thread, the oldest first, without the mail's own."""
    auto: Annotated[Auto | None, STAMPED] = None
    """Set for what no person wrote: nothing may answer it by itself, and a reply, bounce or loop not at all."""


class MessageLeft(InteractionData):
    """An offline message (离线留言)."""

    text: str


class VisitSeen(InteractionData):
    """A contact looked at a page; every visit is kept with the contact (H-06)."""

    page: str | None = None
    referrer: str | None = None


class RatingGiven(InteractionData):
    """The contact's rating of an interaction, 1 (bad) to 5 (good)."""

    score: int = Field(ge=1, le=5)
    comment: str | None = None


class InstructionOutcome(InteractionData):
    """What became of an instruction of `kefu.outbound.v1`, by its event id."""

    instruction: str
    reason: str | None = None


class InstructionDone(InstructionOutcome):
    """The adapter did it."""


class InstructionFailed(InstructionOutcome):
    """The adapter could not do it; `reason` says why."""


class InstructionDelivered(InstructionOutcome):
    """What was said reached the contact's device."""


class InstructionRead(InstructionOutcome):
    """The contact has seen it."""


INTERACTION_MODELS: dict[str, type[InteractionData]] = {
    "kefu.call.started": CallStarted,
    "kefu.call.answered": CallAnswered,
    "kefu.call.held": CallHeld,
    "kefu.call.resumed": CallResumed,
    "kefu.call.transferred": CallTransferred,
    "kefu.call.ended": CallEnded,
    "kefu.chat.started": ChatStarted,
    "kefu.chat.message": ChatMessage,
    "kefu.chat.ended": ChatEnded,
    "kefu.email.received": EmailReceived,
    "kefu.message.left": MessageLeft,
    "kefu.visit.seen": VisitSeen,
    "kefu.rating.given": RatingGiven,
    "kefu.instruction.done": InstructionDone,
    "kefu.instruction.failed": InstructionFailed,
    "kefu.instruction.delivered": InstructionDelivered,
    "kefu.instruction.read": InstructionRead,
}
"""Every type on the topic and its data, by full name."""
