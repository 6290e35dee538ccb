"""The closed sets of words that events and APIs share (design, section 2)."""

from enum import StrEnum


class Channel(StrEnum):
    """How a contact reached us."""

    CALL = "call"
    CHAT = "chat"
    EMAIL = "email"
    MESSAGE = "message"


class TicketKind(StrEnum):
    """What the contact wants."""

    CONSULTATION = "consultation"
    COMPLAINT = "complaint"
    TRANSACTION = "transaction"
    SUGGESTION = "suggestion"


class TicketStatus(StrEnum):
    """Where a ticket is in its life."""

    QUEUED = "queued"
    OFFERED = "offered"
    ACTIVE = "active"
    WAITING = "waiting"
    VERIFYING = "verifying"
    FORWARDED = "forwarded"
    RESOLVED = "resolved"
    ARCHIVED = "archived"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    MERGED = "merged"


class PresenceState(StrEnum):
    """What an agent who is signed in is doing."""

    AVAILABLE = "available"
    BUSY = "busy"
    BREAK = "break"
    AFTER_CALL = "after_call"
    AWAY = "away"


class Occasion(StrEnum):
    """Why a person must be told something."""

    OFFLINE_MESSAGE = "offline_message"
    REPLY = "reply"


class Medium(StrEnum):
    """By what a message to a person is sent."""

    EMAIL = "email"
    SMS = "sms"
