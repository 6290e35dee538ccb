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
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a word, not a password


class Medium(StrEnum):
    """By what a message to a person is sent."""

    EMAIL = "email"
    SMS = "sms"


class Auto(StrEnum):
    """How an e-mail shows that no person wrote it (RFC 3834, RFC 3464)."""

    REPLY = "reply"
    """An answer that a program gave: out of office, vacation."""
    BOUNCE = "bounce"
    """A report that another mail was not delivered, or whatever has a null sender."""
    BULK = "bulk"
    GENERATED = "generated"
    LOOP = "loop"
    """Our own mail came back."""

    @property
    def may_be_answered(self) -> bool:
        """Whether a person may answer it: a web form's mail is generated too, but whoever filled it in waits."""
        return self in (Auto.BULK, Auto.GENERATED)
