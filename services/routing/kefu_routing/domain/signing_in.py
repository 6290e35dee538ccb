"""Signing in: how long wrong passwords make one wait, how sessions are renewed, which codes count. (D-12)"""

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import pyotp

FREE_FAILURES: Final = 3
"""So many wrong passwords may follow each other at once."""
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(days=1)
"""Failures are forgotten when no other has come for so long."""
IDLE: Final = timedelta(hours=12)
"""A session that is not renewed for so long is over."""
LONGEST_SESSION: Final = timedelta(days=7)
LOST_ANSWER: Final = timedelta(minutes=1)
"""So long after a renewal the former secret still renews: whoever lost the answer has no other."""
RESET_LASTS: Final = timedelta(minutes=30)
MOST_RESETS: Final = 3
"""So many links that are still good may be with an agent: nobody can flood their mailbox."""
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 200
_STEP_S: Final = 30
"""Of RFC 6238."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """What has failed so far for one login."""

    failures: int
    last_at: datetime
    next_at: datetime


def wait_after(failures: int) -> timedelta:
    """How long nothing is looked at after so many failures in a row: 2 s, 4 s, 8 s, … at most 15 min."""
    beyond = failures - FREE_FAILURES
    if beyond <= 0:
        return timedelta(0)
    return min(timedelta(seconds=2 ** min(beyond, 20)), LONGEST_WAIT)


def still_waits(known: Attempts | None, now: datetime) -> timedelta:
    """How long until the next attempt is looked at; zero: now."""
    return max(timedelta(0), known.next_at - now) if known is not None else timedelta(0)


def begun(known: Attempts | None, now: datetime) -> Attempts:
    """An attempt counts as failed from its beginning, so that many at once are no way around the wait."""
    is_forgotten = known is None or now - known.last_at > FORGOTTEN_AFTER
    failures = 1 if known is None or is_forgotten else known.failures + 1
    return Attempts(failures, now, now + wait_after(failures))


class Renewal(StrEnum):
    """What a renewal secret that somebody shows means."""

    GOOD = "good"
    REFUSED = "refused"
    STOLEN = "stolen"
    """It was used before, and not just now: two have it, and neither may go on."""


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of an agent."""

    id: UUID
    account: str
    agent: str
    renewal: bytes
    former_renewal: bytes | None
    made_at: datetime
    renewed_at: datetime
    ends_at: datetime


def judge_renewal(session: Session, shown: bytes, now: datetime) -> Renewal:
    """Whether the secret with this hash renews the session."""
    if now >= session.ends_at:
        return Renewal.REFUSED
    if hmac.compare_digest(shown, session.renewal):
        return Renewal.GOOD
    if session.former_renewal is None or not hmac.compare_digest(shown, session.former_renewal):
        return Renewal.REFUSED
    return Renewal.GOOD if now - session.renewed_at <= LOST_ANSWER else Renewal.STOLEN


def session_end(made_at: datetime, now: datetime) -> datetime:
    """When a session ends that is made or renewed now."""
    return min(now + IDLE, made_at + LONGEST_SESSION)


def may_mail_reset(open_resets: int) -> bool:
    """Whether an agent with so many links that are still good is mailed another."""
    return open_resets < MOST_RESETS


def normal(password: str) -> str:
    """A password as it is hashed: the same letters typed on another device are the same password (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def password_fault(password: str, names: Sequence[str]) -> str | None:
    """What is wrong with a new password; None: nothing. `names` are words that everybody knows of the agent."""
    if not SHORTEST_PASSWORD <= len(normal(password)) <= LONGEST_PASSWORD:
        return f"expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
    if len(set(normal(password))) < 4:
        return "expected at least four different characters"
    if normal(password).casefold() in {normal(name).casefold() for name in names}:
        return "expected something else than the agent's name, login or address"
    return None


def step_of(secret: str, code: str, now: datetime, last_step: int) -> int | None:
    """The step of a code that counts now, one step early or late; None for a wrong one or one that counted before.

    Source: RFC 6238, section 5.2.
    """
    current = int(now.timestamp()) // _STEP_S
    totp = pyotp.TOTP(secret)
    shown = code.replace(" ", "").encode()
    for step in (current - 1, current, current + 1):
        if step > last_step and hmac.compare_digest(totp.generate_otp(step).encode(), shown):
            return step
    return None


def fingerprint(secret: str) -> bytes:
    """What is kept of a random secret: SHA-256, since nobody can guess such a secret anyway."""
    return hashlib.sha256(secret.encode()).digest()


def plain_code(code: str) -> str:
    """A recovery code without what people add when they type it."""
    return code.replace("-", "").replace(" ", "").upper()
