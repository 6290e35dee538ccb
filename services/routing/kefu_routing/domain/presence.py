"""What an agent does, and what ends by itself: after-call work, and what comes after what is in hand.

Every function changes the seat it is given, and says whether its state is another one now; the caller holds its lock.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from kefu_common.events.words import PresenceState
from kefu_routing.domain.model import Seat
from kefu_routing.domain.work import Freed


class Cause(StrEnum):
    """Why a state changed; the words of `agent.presence_changed`."""

    AGENT = "agent"
    """A person said so: the agent, or who leads them."""
    LEASE = "lease"
    """Nothing was heard of the agent's client."""
    MISSED = "missed"
    """The agent let an offer lapse."""
    AFTER_CALL = "after_call"
    """A call has ended, and leaves something to be done."""
    TIME = "time"
    """After-call work is over."""
    NEXT = "next"
    """What was in hand has ended, and this was to come after it."""
    ACT = "act"
    """The agent did something, so they are there."""


GONE_BY_THEMSELVES = frozenset({Cause.LEASE, Cause.MISSED})
"""Reasons for which an agent is away though nobody said so: any act of theirs ends that."""


def set_state(
    seat: Seat, state: PresenceState, reason: str | None, at: datetime, until: datetime | None = None
) -> bool:
    """From now on; what was to come next is forgotten."""
    changed = seat.state is not state
    if state is PresenceState.AVAILABLE and changed:
        seat.freed_at = at
    seat.state, seat.reason, seat.until = state, reason, until
    seat.next_state = seat.next_reason = None
    return changed


def plan_next(seat: Seat, state: PresenceState, reason: str | None) -> None:
    """After what is in hand; until then nothing new comes."""
    seat.next_state, seat.next_reason = state, reason


def ticket_ended(seat: Seat, freed: Freed, in_hand: int) -> Cause | None:
    """The agent has one ticket less, and `in_hand` still; None: the state stays."""
    seat.freed_at = max(seat.freed_at, freed.at)
    if seat.state is PresenceState.AVAILABLE and freed.after_call_s:
        seat.state, seat.reason = PresenceState.AFTER_CALL, None
        seat.until = freed.at + timedelta(seconds=freed.after_call_s)
        return Cause.AFTER_CALL
    return _go_on(seat, in_hand) if seat.state is not PresenceState.AFTER_CALL else None


def time_is_up(seat: Seat, in_hand: int, now: datetime) -> Cause | None:
    """After-call work ends; None: it does not end yet, or another state came first."""
    if seat.until is None or seat.until > now:
        return None
    seat.until = None
    if seat.state is not PresenceState.AFTER_CALL:
        return None
    cause = _go_on(seat, in_hand)
    if cause is None:
        seat.state, seat.reason, seat.freed_at = PresenceState.AVAILABLE, None, now
        cause = Cause.TIME
    return cause


def miss(seat: Seat) -> Cause | None:
    """The agent let an offer lapse: nothing rings there until they come back."""
    if seat.state is None or seat.state is PresenceState.AWAY:
        return None
    seat.state, seat.reason, seat.until = PresenceState.AWAY, Cause.MISSED, None
    return Cause.MISSED


def come_back(seat: Seat, at: datetime) -> Cause | None:
    """The agent did something: whoever was away by themselves is available again."""
    if not is_gone_by_itself(seat.state, seat.reason):
        return None
    set_state(seat, PresenceState.AVAILABLE, None, at)
    return Cause.ACT


def is_gone_by_itself(state: PresenceState | None, reason: str | None) -> bool:
    """Whether the agent is away only because nothing was heard of them."""
    return state is PresenceState.AWAY and reason in GONE_BY_THEMSELVES


def _go_on(seat: Seat, in_hand: int) -> Cause | None:
    if seat.next_state is None or in_hand > 0:
        return None
    seat.state, seat.reason = seat.next_state, seat.next_reason
    seat.next_state = seat.next_reason = None
    return Cause.NEXT
