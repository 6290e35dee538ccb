"""Events of `kefu.tickets.v1`: the life of a ticket. Public and kept for ever, so no personal data, no free text."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from kefu_common.events.envelope import EventData
from kefu_common.events.words import Channel, TicketKind, TicketStatus


class TicketData(EventData):
    """What routing stamps on every ticket event, as it is after the event."""

    site: str
    time_zone: str
    """The site's IANA time zone: days of reports are counted in it."""
    channel: Channel
    source: str | None = None
    """The contact's source if a group of the directory names it, else `other`."""
    category: str | None = None
    """The category if a group of the directory names it, else `other`."""
    kind: TicketKind
    group: str | None = None
    handler: str | None = None
    owner: str | None = None
    contact: UUID
    priority: int = Field(ge=0, le=9)
    status: TicketStatus
    reason: str | None = None
    opened_at: AwareDatetime


class TicketOpened(TicketData):
    """A ticket was opened; `linked` are the contact's other open tickets."""

    linked: list[UUID] = []


class TicketMessageReceived(TicketData):
    """The contact wrote or left something; `message` is its id in routing."""

    message: UUID


class TicketQueued(TicketData):
    """The ticket waits for an agent of `group`."""

    cause: Literal["new", "declined", "lapsed", "withdrawn", "transferred", "overflow", "unattended", "split"]
    """Why it waits (again); `overflow`: it has waited so long that more agents may take it, or it comes earlier."""


class TicketOffered(TicketData):
    """The ticket is reserved for `agent` until `expires_at`."""

    agent: str
    offer: UUID
    fence: int
    expires_at: AwareDatetime
    waited_s: float
    """Seconds from opening to this offer."""


class TicketDeclined(TicketData):
    """The agent refused the offer."""

    agent: str
    offer: UUID


class TicketLapsed(TicketData):
    """The offer ran out unanswered."""

    agent: str
    offer: UUID


class TicketAssigned(TicketData):
    """`agent` handles the ticket now."""

    agent: str
    offer: UUID | None = None
    by: Literal["accept", "answered", "claim", "owner"]
    """How the agent came to it; `owner`: whoever answered first looks after a contact who left in between."""
    wait_s: float
    """Seconds from opening until this agent took it."""
    first: bool
    """Whether it is the first agent to handle the ticket: the answer."""


class TicketReplied(TicketData):
    """`agent` answered the contact; `message` is the reply's id in routing."""

    agent: str
    message: UUID
    first: bool
    first_reply_s: float | None = None
    """On the first reply: seconds from opening."""


class TicketReplyFailed(TicketData):
    """A reply did not reach the contact."""

    message: UUID
    cause: Literal["expired", "rejected", "adapter"]


class TicketNoted(TicketData):
    """`agent` wrote an internal note."""

    agent: str


class TicketTransferred(TicketData):
    """The handler passed the ticket on, to a group or an agent."""

    agent: str | None = None
    from_group: str | None = None
    to_group: str | None = None
    to_agent: str | None = None


class TicketWarned(TicketData):
    """Somebody should look at the ticket; `unattended`: the client of the agent who has it in hand vanished."""

    cause: Literal["unattended"]
    agent: str | None = None


class TicketUnmerged(TicketData):
    """What had joined the ticket by mistake is a ticket of its own now."""

    agent: str | None = None
    other: UUID
    """The new ticket."""


class TicketResolved(TicketData):
    """`agent` ended the work."""

    agent: str
    code: str | None = None
    """The resolution code if the directory names it, else `other`."""
    handling_s: float
    """Seconds that agents had the ticket in hand."""


class TicketRated(TicketData):
    """The contact rated the service, 1 to 5."""

    agent: str | None = None
    score: int = Field(ge=1, le=5)


class TicketAbandoned(TicketData):
    """The contact left, or waited longer than the plan allows, before an agent answered."""

    wait_s: float
    ringing: bool
    """Whether an agent was being rung at that moment."""


class TicketRefused(TicketData):
    """The ticket was not taken: `reason` is `closed` or `source`."""


TICKET_MODELS: dict[str, type[TicketData]] = {
    "kefu.ticket.opened": TicketOpened,
    "kefu.ticket.message_received": TicketMessageReceived,
    "kefu.ticket.queued": TicketQueued,
    "kefu.ticket.offered": TicketOffered,
    "kefu.ticket.declined": TicketDeclined,
    "kefu.ticket.lapsed": TicketLapsed,
    "kefu.ticket.assigned": TicketAssigned,
    "kefu.ticket.replied": TicketReplied,
    "kefu.ticket.reply_failed": TicketReplyFailed,
    "kefu.ticket.noted": TicketNoted,
    "kefu.ticket.transferred": TicketTransferred,
    "kefu.ticket.warned": TicketWarned,
    "kefu.ticket.unmerged": TicketUnmerged,
    "kefu.ticket.resolved": TicketResolved,
    "kefu.ticket.rated": TicketRated,
    "kefu.ticket.abandoned": TicketAbandoned,
    "kefu.ticket.refused": TicketRefused,
}
"""Every type on the topic and its data, by full name."""

TYPE_OF_TICKET_EVENT: dict[type[TicketData], str] = {model: name for name, model in TICKET_MODELS.items()}
