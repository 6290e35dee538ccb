"""What became of what adapters were asked to do, and of replies."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from kefu_common.events import interactions as said
from kefu_common.events import tickets as happened
from kefu_routing.domain import offers
from kefu_routing.domain.model import Instructed, Message, Offer, OfferStatus, Ticket
from kefu_routing.domain.refusals import NotApplicable
from kefu_routing.domain.work import Work


def take_outcome(
    work: Work,
    instructed: Mapping[UUID, Instructed],
    going: Ticket,
    made: Offer | None,
    outcome: said.InstructionOutcome,
    at: datetime,
    now: datetime,
) -> None:
    """Apply what an adapter says became of an instruction. Raises `NotApplicable` for one that the ticket never had."""
    try:
        asked = instructed.get(UUID(outcome.instruction))
    except ValueError:
        raise NotApplicable("unknown_instruction") from None
    if asked is None or asked.ticket != going.id:
        raise NotApplicable("unknown_instruction")
    state = _STATE_AFTER[type(outcome)]
    work.outcomes[asked.id] = state
    if asked.message is not None:
        move_reply(work, going, asked.message, state, at, cause="adapter")
    if state == "failed" and made is not None and made.id == asked.offer and made.status is OfferStatus.OPEN:
        # The phone cannot be rung: waiting until the offer lapses would only keep the caller waiting. By our own clock,
        # since for how long the agent is passed over is measured by it.
        offers.give_back(work, going, made, OfferStatus.LAPSED, now, reason="ring_failed")


_STATE_AFTER: dict[type[said.InstructionOutcome], str] = {
    said.InstructionDone: "sent",
    said.InstructionDelivered: "delivered",
    said.InstructionRead: "read",
    said.InstructionFailed: "failed",
}

_FOLLOWS: dict[str, frozenset[str]] = {
    "pending": frozenset({"sent", "delivered", "read", "failed"}),
    "sent": frozenset({"delivered", "read", "failed"}),
    # A person had it sent again, or the failure was told of an earlier try.
    "failed": frozenset({"sent", "delivered", "read"}),
    "delivered": frozenset({"read"}),
    "read": frozenset(),
}
"""What a reply's state may become; news that comes late or twice changes nothing."""


def move_reply(work: Work, going: Ticket, message: Message, state: str, at: datetime, cause: str) -> None:
    """Move a reply's state; one that failed shows on its ticket."""
    current = work.message_states.get(message.id, message.state or "pending")
    if state not in _FOLLOWS[current]:
        return
    work.message_states[message.id] = state
    if state == "failed" and message.origin == "agent":
        work.happen(going, happened.TicketReplyFailed, at, message=message.id, cause=cause)
