"""Identifiers: who makes them and how they are derived."""

from typing import NewType
from uuid import UUID, uuid5

from uuid_utils.compat import uuid7 as _uuid7

AccountId = NewType("AccountId", str)
SiteId = NewType("SiteId", str)
GroupId = NewType("GroupId", str)
AgentId = NewType("AgentId", str)
InteractionId = NewType("InteractionId", str)
TicketId = NewType("TicketId", UUID)
ContactId = NewType("ContactId", UUID)
OfferId = NewType("OfferId", UUID)

_EVENT_NAMESPACE = UUID("6b656675-0000-5000-8000-000000000001")


def new_id() -> UUID:
    """A UUIDv7: unique everywhere, and roughly ordered by the time it was made."""
    return _uuid7()


def derived_event_id(*parts: str) -> UUID:
    """The UUIDv5 that the same parts always give; for a posted event (account, site, type, id)."""
    return uuid5(_EVENT_NAMESPACE, "\x1f".join(parts))
