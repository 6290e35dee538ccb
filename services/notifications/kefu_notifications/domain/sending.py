"""What an attempt to send may end in, and what comes of it. Source: design, section 4 (one retry class per error)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from kefu_notifications.domain.planning import Reason, State

LEASE_S: Final = 60
"""An attempt without a recorded result is taken over after this."""
LONGEST_S: Final = 20
"""One attempt takes at most this, well below the lease."""
TRIED_FOR: Final = timedelta(hours=24)
_LONGEST_WAIT_S: Final = 300.0
_LONGEST_ASKED_WAIT_S: Final = 3600.0


class Result(StrEnum):
    """Every error is of exactly one class."""

    SENT = "sent"
    RETRY = "retry"
    """Surely not taken, and it may be taken later."""
    UNKNOWN = "unknown"
    """It may have been taken: the connection broke after the content was handed over."""
    REJECTED = "rejected"
    """Not taken, and it will not be."""
    NOT_TRIED = "not_tried"
    """Nothing was handed to the provider: given back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result. `retry_after_s` is what the provider asked for."""

    result: Result
    provider_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of the message; `is_open` when the provider may hold it though nobody recorded that."""

    state: State
    reason: Reason | None
    due_at: datetime
    is_open: bool
    was_tried: bool = True


def smtp_result(code: int) -> Result:
    """The class of an SMTP reply to RCPT or DATA. Source: RFC 5321, 4.2.1."""
    return Result.REJECTED if 500 <= code < 600 else Result.RETRY


def http_result(status: int) -> Result:
    """The class of an SMS provider's answer; a gateway that lost the provider's own answer is `unknown`."""
    if 200 <= status < 300:
        return Result.SENT
    if status in (502, 504):
        return Result.UNKNOWN
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Result.REJECTED
    return Result.RETRY


def wait_s(attempts: int, base_s: float, jitter: float) -> float:
    """Seconds until the next attempt: doubling, at most 5 min; `jitter` in [0, 1) takes off up to half."""
    return min(base_s * 2.0 ** min(attempts - 1, 20), _LONGEST_WAIT_S) * (1 - jitter / 2)


def after(outcome: Outcome, give_up_at: datetime, now: datetime, pause_s: float) -> Next:
    """What becomes of a message after an attempt; `pause_s` is the pause before a next one."""
    match outcome.result:
        case Result.SENT:
            return Next(State.SENT, None, now, is_open=False)
        case Result.REJECTED:
            return Next(State.FAILED, Reason.REJECTED, now, is_open=False)
        case Result.NOT_TRIED:
            return Next(State.SENDING, None, now, is_open=False, was_tried=False)
        case Result.RETRY | Result.UNKNOWN:
            is_open = outcome.result is Result.UNKNOWN
            asked_s = min(outcome.retry_after_s or 0.0, _LONGEST_ASKED_WAIT_S)
            due_at = now + timedelta(seconds=max(pause_s, asked_s))
            if due_at > give_up_at:
                return Next(State.FAILED, Reason.EXPIRED, now, is_open)
            return Next(State.SENDING, None, due_at, is_open)
    assert_never(outcome.result)
