"""What an adapter posts, and what it is answered.

Refused   Kefu does not want it: mend what `errors` name
GaveUp    nobody answered for so long; posting the same again later is safe
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Required, TypedDict


class Contact(TypedDict, total=False):
    """Who it is, as far as the adapter knows."""

    external_id: str | None
    name: str | None
    phone: str | None
    email: str | None
    tier: str | None


class Event(TypedDict, total=False):
    """One event in the simple form. The same `id` takes effect once for its site and type."""

    id: Required[str]
    type: Required[str]
    site: Required[str]
    interaction: Required[str]
    occurred_at: Required[str]
    """RFC 3339, with a time zone."""
    source: str | None
    category: str | None
    contact: Contact | None
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Kefu has it. `event` is its CloudEvents id, the same whenever it is posted again."""

    id: str
    event: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stored file; `ref` names it in events."""

    ref: str
    type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FieldError:
    """A wrong field: dots between the steps of its path."""

    path: str
    message: str


class Refused(Exception):
    """Kefu will never take it as it is."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{status} {detail}{''.join(f'; {e.path}: {e.message}' for e in errors)}")
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)


class GaveUp(Exception):
    """No clear answer in time. Kefu may have it or not: post the same again when there is time."""


PATHS: Final = {
    "call": "calls",
    "chat": "chats",
    "email": "emails",
    "message": "messages",
    "visit": "visits",
    "rating": "ratings",
    "instruction": "outcomes",
}
"""Where intake takes the types that begin so."""


def path_of(event: Event) -> str:
    """The path for an event. Raises `Refused` for a type that begins like none."""
    family = event["type"].partition(".")[0]
    if family not in PATHS:
        raise Refused(422, "unknown type", [FieldError("type", f"expected one that begins with {', '.join(PATHS)}")])
    return f"/v1/{PATHS[family]}"
