"""Who comes when: Poisson arrivals with a morning peak."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

from kefu_local.demo.people import Contact
from kefu_local.demo.talk import DIALOGUES, LEFT, LETTERS, Dialogue, Letter

T = TypeVar("T")
LAST_MINUTE = 54.0
PEAK_MINUTE, PEAK_WIDTH_MIN, PEAK_HEIGHT = 24.0, 11.0, 1.6
IMPATIENT_SHARE = 0.12
ANONYMOUS_SHARE = 0.25
NO_CATEGORY_SHARE = 0.25
PAGES = ("app/product-page", "app/order-page", "web/home", "miniprogram")
HOTLINE = "hotline"


class Kind(StrEnum):
    CALL = "call"
    CHAT = "chat"
    EMAIL = "email"
    MESSAGE = "message"
    NIGHT_CALL = "night_call"
    NIGHT_CHAT = "night_chat"


USUAL = {Kind.CALL: 28, Kind.CHAT: 55, Kind.EMAIL: 11, Kind.MESSAGE: 6, Kind.NIGHT_CALL: 1, Kind.NIGHT_CHAT: 3}
"""How many come in an hour on average."""


@dataclass(frozen=True)
class Arrival:
    minute: float
    kind: Kind
    contact: Contact | None
    category: str | None
    source: str
    says: Dialogue | Letter | str
    patience_s: float
    is_patient: bool


def arrivals(rng: Random, people: Sequence[Contact], load: float) -> list[Arrival]:
    """In order of time. At least one of each kind, however small the load."""
    numbers = {kind: max(1, _poisson(rng, usual * load)) for kind, usual in USUAL.items()}
    # One who writes twice would join what they wrote before: only those come twice of whom a story says so.
    writers = iter(rng.sample(people, k=min(len(people), numbers[Kind.EMAIL] + numbers[Kind.MESSAGE])))
    found = []
    for kind, number in numbers.items():
        for place in range(number):
            writes = kind in (Kind.EMAIL, Kind.MESSAGE)
            contact = next(writers, None) if writes else rng.choice(people)
            if contact is not None:
                found.append(_arrival(rng, kind, contact, place))
    return sorted(found, key=lambda arrival: arrival.minute)


def _arrival(rng: Random, kind: Kind, contact: Contact, place: int) -> Arrival:
    says: Dialogue | Letter | str = rng.choice(DIALOGUES)
    group: str | None = None
    if isinstance(says, Dialogue):
        group = says.group
    if kind is Kind.EMAIL:
        says = _cycled(LETTERS, place + 1)
        group = says.group
    elif kind is Kind.MESSAGE:
        says, group = _cycled(LEFT, place), None
    is_call = kind in (Kind.CALL, Kind.NIGHT_CALL)
    is_patient = rng.random() >= IMPATIENT_SHARE
    return Arrival(
        minute=_minute(rng),
        kind=kind,
        contact=None if kind is Kind.CHAT and rng.random() < ANONYMOUS_SHARE else contact,
        category=None if rng.random() < NO_CATEGORY_SHARE else group,
        source=HOTLINE if is_call else rng.choice(PAGES),
        says=says,
        patience_s=rng.lognormvariate(math.log(300), 0.5) if is_patient else rng.uniform(3, 20),
        is_patient=is_patient,
    )


def _cycled(of: Sequence[T], place: int) -> T:
    return of[place % len(of)]


def _minute(rng: Random) -> float:
    """Drawn by rejection from a level stream with a peak on it."""
    while True:
        minute = rng.uniform(0.5, LAST_MINUTE)
        peak = PEAK_HEIGHT * math.exp(-(((minute - PEAK_MINUTE) / PEAK_WIDTH_MIN) ** 2) / 2)
        if rng.uniform(0, 1 + PEAK_HEIGHT) < 1 + peak:
            return minute


def _poisson(rng: Random, mean: float) -> int:
    """Source: Knuth, The Art of Computer Programming, 3.4.1."""
    limit, product, number = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        number += 1
    return number
