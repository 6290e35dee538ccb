"""How many segments an SMS takes, which is what providers charge for. Source: 3GPP TS 23.038 and 23.040."""

from typing import Final

_GSM_7: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_7_ESCAPED: Final = frozenset("\f^{}\\[~]|€")


def segments(text: str) -> int:
    """Segments of one message: 160 GSM-7 septets or 70 UTF-16 units alone, 153 or 67 in each part of a longer one."""
    if all(c in _GSM_7 or c in _GSM_7_ESCAPED for c in text):
        return _parts([2 if c in _GSM_7_ESCAPED else 1 for c in text], alone=160, joined=153)
    return _parts([utf16_units(c) for c in text], alone=70, joined=67)


def utf16_units(text: str) -> int:
    """Length in UTF-16 units, in which UCS-2 messages are measured: an emoji has two."""
    return sum(2 if ord(c) > 0xFFFF else 1 for c in text)


def cut(text: str, units: int) -> str:
    """The text in at most so many UTF-16 units; what is cut ends with an ellipsis."""
    if utf16_units(text) <= units:
        return text
    kept, left = [], units - 1
    for c in text:
        left -= utf16_units(c)
        if left < 0:
            break
        kept.append(c)
    return "".join(kept).rstrip() + "…"


def _parts(widths: list[int], *, alone: int, joined: int) -> int:
    if sum(widths) <= alone:
        return 1
    parts, room = 1, joined
    for width in widths:
        # An escaped or surrogate pair never straddles two parts.
        if width > room:
            parts, room = parts + 1, joined
        room -= width
    return parts
