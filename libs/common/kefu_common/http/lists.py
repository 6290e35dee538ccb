"""Lists: `?limit=&cursor=` in, `{"items": [...], "next": ...}` out."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from kefu_common.http.problems import Invalid

T = TypeVar("T")
Listed: TypeAlias = dict[str, Any]
"""`items` and `next`."""


class Page(BaseModel):
    """Query parameters of every list; extend it for filters. Unknown parameters are 422."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = None

    def after(self) -> str | None:
        """The sort key of the last item that the caller has. Raises `Invalid` for a cursor that we did not make."""
        if self.cursor is None:
            return None
        try:
            key = base64.b64decode(self.cursor.encode(), b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError, ValueError):
            raise _foreign() from None
        if "\x00" in key:
            raise _foreign()
        return key

    def after_id(self) -> UUID | None:
        """The same where the sort key is an id."""
        key = self.after()
        try:
            return None if key is None else UUID(key)
        except ValueError:
            raise _foreign() from None

    def after_number(self, most: int = 2**63 - 1) -> int | None:
        """The same where it is a whole number from 0 to `most`, the largest that its column takes."""
        key = self.after()
        if key is None:
            return None
        if not (key.isascii() and key.isdigit() and len(key) <= 19 and int(key) <= most):
            raise _foreign()
        return int(key)

    def of(self, found: list[T], key: Callable[[T], object], shown: Callable[[T], object] = lambda x: x) -> Listed:
        """The answer: `found` holds one item more than the limit when there is another page."""
        following = cursor_after(str(key(found[self.limit - 1]))) if len(found) > self.limit else None
        return {"items": [shown(item) for item in found[: self.limit]], "next": following}


def _foreign() -> Invalid:
    return Invalid([("cursor", "expected a cursor from an earlier answer")])


class Items(BaseModel, Generic[T]):
    """One page and the cursor of the next, null at the end."""

    items: list[T]
    next: str | None = None


def cursor_after(key: str) -> str:
    """The cursor that continues after the item with this sort key."""
    return base64.urlsafe_b64encode(key.encode()).decode()
