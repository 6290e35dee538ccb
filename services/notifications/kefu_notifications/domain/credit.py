"""Credit for SMS, in fen. Source: requirements O-07."""

from collections.abc import Sequence
from typing import Final

OPENING_FEN: Final = 500
"""Every account starts with 5.00 CNY."""


def affordable(balance_fen: int, costs_fen: Sequence[int]) -> list[bool]:
    """Which of the messages the balance pays for, first come first served; a cheaper one may still fit."""
    paid = []
    for cost in costs_fen:
        paid.append(cost <= balance_fen)
        if cost <= balance_fen:
            balance_fen -= cost
    return paid
