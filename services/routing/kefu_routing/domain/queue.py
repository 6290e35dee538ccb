"""Where somebody stands in a queue, how long it will take, and when they are told so. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from kefu_common.events.words import Channel

PACE_S: Final = 900
"""The pace of a queue is that of its answers in so many seconds."""
HAS_TO_WAIT: Final = {Channel.CHAT: timedelta(seconds=2), Channel.CALL: timedelta(seconds=10)}
"""Whoever is offered to an agent at once does not have to wait; a caller hears the welcome to its end first."""
TOLD_EVERY: Final = {Channel.CHAT: timedelta(seconds=5), Channel.CALL: timedelta(seconds=30)}
"""How often news is told at most."""
_FEWEST_ANSWERS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a ticket in its group's queue, 1 being the next."""

    ticket: UUID
    group: str
    position: int


@dataclass(frozen=True, slots=True)
class Told:
    """What whoever waits was told last; `text` is what a caller heard."""

    place: Place
    text: str | None
    at: datetime


def estimate_wait_s(position: int, answers: int, over_s: float) -> float | None:
    """How long the one at this place will wait, if the queue goes on at the pace of so many answers in `over_s`.

    None when it cannot be known: a pace that rests on one or two answers says nothing.
    """
    if answers < _FEWEST_ANSWERS:
        return None
    return round(position * over_s / answers, 1)


def is_news(place: Place, channel: Channel, told: Told | None, now: datetime) -> bool:
    """Whether to tell it now: the first time, and then when it changed, but not too often."""
    if told is None:
        return True
    return told.place != place and now - told.at >= TOLD_EVERY[channel]
