"""From what people must be told to the messages that tell them. Source: requirements O-03, B-03, D-12."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Medium, Occasion
from kefu_notifications.domain.texts import Wording, word

OLDEST: Final = timedelta(days=3)
"""Nothing is sent for an older event unless told to (design, section 4)."""
RESET_LASTS: Final = timedelta(minutes=30)
"""So long the link to a new password is good; later not even a person who wants to can have it sent."""
MOST_STAFF: Final = 100
"""So many people are told by each medium at the most."""
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+@[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+")
_PHONE: Final = re.compile(r"\+?[0-9]{3,20}")
_SEPARATORS: Final = re.compile(r"[\s\-().]")


class State(StrEnum):
    """How far a message is. It only moves forward; a person's retry plans it anew."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    HELD = "held"

    @property
    def is_end(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (State.SENT, State.FAILED, State.HELD)


class Reason(StrEnum):
    """Why a message failed or is held."""

    NO_RECIPIENT = "no_recipient"
    BAD_ADDRESS = "bad_address"
    TOO_OLD = "too_old"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NO_SIGNATURE = "no_signature"
    NO_CREDIT = "no_credit"


@dataclass(frozen=True, slots=True)
class Recipients:
    """Where staff is told."""

    emails: Sequence[str] = ()
    phones: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """One message to one person. With `failure` it is recorded, and never sent."""

    medium: Medium
    to: str | None
    wording: Wording
    failure: Reason | None = None


def plan(wanted: MessageWanted, staff: Recipients, happened_at: datetime, now: datetime) -> list[Intent]:
    """Whom to tell, by what and in which words: the contact of a reply, staff of anything else.

    Somebody who should be told and cannot be is an intent with a failure, so that it can be seen.
    """
    too_old = is_too_old(wanted.occasion, happened_at, now)
    people = _people(wanted, staff)
    if not people:
        return [Intent(Medium.EMAIL, None, word(wanted, Medium.EMAIL), Reason.NO_RECIPIENT)]
    return [
        Intent(medium, to, word(wanted, medium), Reason.TOO_OLD if too_old else _failure(medium, to))
        for medium, to in people
    ]


def is_too_old(occasion: Occasion, happened_at: datetime, now: datetime, *, is_forced: bool = False) -> bool:
    """Whether nobody wants to be told of it any more; a link that is over helps nobody, whoever asks for it."""
    if occasion is Occasion.PASSWORD_RESET:
        return now - happened_at > RESET_LASTS
    return now - happened_at > OLDEST and not is_forced


def is_address(text: str) -> bool:
    """Whether it can be one recipient of an e-mail; nothing in it can become a second one, a header or a command.

    What looks like an encoded word (RFC 2047) is none: it would be decoded into a header of its own.
    """
    return len(text) <= 254 and "=?" not in text and _ADDRESS.fullmatch(text) is not None


def dialled(phone: str) -> str:
    """A phone number without the separators that people write."""
    return _SEPARATORS.sub("", phone)


def is_phone(text: str) -> bool:
    """Whether an SMS can go there."""
    return _PHONE.fullmatch(dialled(text)) is not None


def _failure(medium: Medium, to: str) -> Reason | None:
    usable = is_address(to) if medium is Medium.EMAIL else is_phone(to)
    return None if usable else Reason.BAD_ADDRESS


def _people(wanted: MessageWanted, staff: Recipients) -> list[tuple[Medium, str]]:
    match wanted.occasion:
        case Occasion.REPLY:
            return _contact(wanted)
        case Occasion.OFFLINE_MESSAGE:
            return _staff(staff)
        case Occasion.PASSWORD_RESET:
            return _staff(staff)[:1]
    assert_never(wanted.occasion)


def _staff(staff: Recipients) -> list[tuple[Medium, str]]:
    # The same person may be named twice; told once is enough.
    emails = [(Medium.EMAIL, e) for e in dict.fromkeys(e.strip() for e in staff.emails)]
    phones = [(Medium.SMS, p) for p in dict.fromkeys(dialled(p) for p in staff.phones)]
    return emails[:MOST_STAFF] + phones[:MOST_STAFF]


def _contact(wanted: MessageWanted) -> list[tuple[Medium, str]]:
    if wanted.to is None:
        return []
    if email := _clean(wanted.to.email):
        return [(Medium.EMAIL, email)]
    if phone := _clean(wanted.to.phone):
        return [(Medium.SMS, dialled(phone))]
    return []


def _clean(address: str | None) -> str:
    return (address or "").replace("\x00", "").strip()
