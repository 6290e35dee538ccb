"""How fast a key may post: a leaky bucket, kept as one point in time (GCRA).

Source: ITU-T I.371, generic cell rate algorithm; header fields by draft-ietf-httpapi-ratelimit-headers-10.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

BURST_S: Final = 1.0
"""So many seconds' worth of events may come at once."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Events a second."""

    per_s: float

    @property
    def burst(self) -> int:
        """Events that may come at once after a pause."""
        return max(1, round(self.per_s * BURST_S))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands: what it may still post at once, and in how many seconds it may post at all, or all again."""

    remaining: int
    reset_s: int

    @property
    def may_post(self) -> bool:
        """Whether a post is taken now."""
        return self.remaining > 0


def standing(rate: Rate, paid_until: float, now: float) -> Standing:
    """How a key stands whose events so far are paid for until then; all in seconds of one clock.

    A post is taken whenever there is room for one event: an array larger than the burst makes the next wait longer.
    """
    ahead_s = max(0.0, paid_until - now)
    free = rate.burst - ahead_s * rate.per_s
    remaining = max(0, int(free + 1e-6))
    reset_s = ahead_s if remaining else (1 - free) / rate.per_s
    return Standing(remaining, ceil(reset_s))


def pay(rate: Rate, paid_until: float, now: float, events: int) -> float:
    """Until when it is paid for after so many more events."""
    return max(paid_until, now) + events / rate.per_s
