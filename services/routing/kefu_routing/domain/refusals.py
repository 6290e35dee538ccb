"""Commands and events that cannot be carried out now. Nothing was changed.

CommandRefused
├── WrongState     not in this status; says which commands are possible
├── NotYours       another agent has it, or the offer was another's
├── OfferOver      the offer lapsed or was withdrawn
└── CannotTake     the agent may not take it: signed out, no room, not in the group
NotApplicable      an adapter's event, with the reason for which it is set aside
"""

from kefu_common.events.words import TicketStatus
from kefu_routing.domain.model import Ticket

_POSSIBLE: dict[TicketStatus, list[str]] = {
    TicketStatus.QUEUED: ["claim", "note"],
    TicketStatus.OFFERED: ["accept", "decline", "note"],
    TicketStatus.ACTIVE: ["reply", "note", "transfer", "resolve"],
}


class CommandRefused(Exception):
    """A command that cannot be carried out now; nothing was changed."""


class WrongState(CommandRefused):
    """The ticket is not in a status that allows it."""

    def __init__(self, status: TicketStatus) -> None:
        super().__init__(f"the ticket is {status}")
        self.possible = _POSSIBLE.get(status, ["note"])


class NotYours(CommandRefused):
    """Somebody else has the ticket or the offer."""


class OfferOver(CommandRefused):
    """The offer is not open any more."""


class CannotTake(CommandRefused):
    """The agent may not take the ticket; the message says why."""


def need(ticket: Ticket, *statuses: TicketStatus) -> None:
    """Raises `WrongState` unless the ticket is in one of these."""
    if ticket.status not in statuses:
        raise WrongState(ticket.status)


def need_handler(ticket: Ticket, agent: str) -> None:
    """Raises `WrongState` unless somebody works on it, `NotYours` unless it is this agent."""
    need(ticket, TicketStatus.ACTIVE)
    if ticket.handler != agent:
        raise NotYours(f"the handler is {ticket.handler}")


class NotApplicable(Exception):
    """The event makes no sense as things stand: set aside with this reason; its neighbours go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
