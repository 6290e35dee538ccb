"""Lists: `?limit=&cursor=` in, `{"items": [...], "next": ...}` out."""

import base64
import binascii
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kefu_common.http.problems import Invalid

T = TypeVar("T")


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
            return base64.b64decode(self.cursor.encode(), b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError, ValueError):
            raise Invalid([("cursor", "expected a cursor from an earlier answer")]) from None


class Items(BaseModel, Generic[T]):
    """One page and the cursor of the next, null at the end."""

    items: list[T]
    next: str | None = None


def cursor_after(key: str) -> str:
    """The cursor that continues after the item with this sort key."""
    return base64.urlsafe_b64encode(key.encode()).decode()
