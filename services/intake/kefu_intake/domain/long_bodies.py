"""E-mail bodies that are too long for an event: they become attachments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kefu_intake.domain.forms import Form
from kefu_intake.domain.limits import KIB
from kefu_intake.domain.mail.html_text import with_text

LONGEST_BYTES: Final = 256 * KIB
_CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Body:
    """A body that is to be stored whole."""

    name: str
    type: str
    content: bytes


def is_long(form: Form) -> bool:
    """Whether a body of an e-mail has more than 256 KiB in UTF-8."""
    data = form.get("data")
    return form["type"] == "email.received" and data is not None and bool(_long_fields(data))


def split(data: Mapping[str, object]) -> tuple[dict[str, object], list[Body]]:
    """The data without what is too long, and that: of a text the beginning stays, of an HTML nothing."""
    data = with_text(data)  # before the HTML is gone
    kept = dict(data)
    bodies: list[Body] = []
    for name in _long_fields(data):
        content = str(data[name]).encode()
        if name == "text":
            kept[name] = content[:LONGEST_BYTES].decode(errors="ignore") + _CUT
            bodies.append(Body("message.txt", "text/plain", content))
        else:
            kept[name] = None
            bodies.append(Body("message.html", "text/html", content))
    return kept, bodies


def _long_fields(data: Mapping[str, object]) -> list[str]:
    return [name for name in ("text", "html") if _size(data.get(name)) > LONGEST_BYTES]


def _size(text: object) -> int:
    if not isinstance(text, str) or len(text) * 4 <= LONGEST_BYTES:
        return 0
    return len(text.encode())
