"""How long each text of a posted event may be, and which characters it may not hold.

No text may hold NUL, which Postgres cannot store. Ids also hold no other control character, because they become part
of keys and of derived ids. The form of phones and addresses is never an error.
"""

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from kefu_common.attachments import REF
from kefu_common.given import NO_NUL

NO_CONTROL: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
RFC_3339: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)

SITE_SOURCE: Final = r"^/sites/[^\x00-\x1f\x7f-\x9f]+$"
"""A CloudEvent's `source`."""

EXPECTED: Final = {
    NO_NUL: "expected a text without NUL characters",
    NO_CONTROL: "expected a text without control characters",
    REF: "expected a reference from POST /v1/attachments",
    SITE_SOURCE: "expected /sites/ and the site's id",
    RFC_3339: "expected a date and time with a time zone, such as 2026-11-23T09:30:00+08:00",
}
"""What to tell the caller when a pattern does not match."""

KIB: Final = 1024

Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_CONTROL)]
MaybeId = Annotated[str, StringConstraints(max_length=200, pattern=NO_CONTROL)]
"""An id that adapters also send empty when they know none."""
SiteSource = Annotated[str, StringConstraints(max_length=207, pattern=SITE_SOURCE)]
Ref = Annotated[str, StringConstraints(max_length=200, pattern=REF)]
Name = Annotated[str, StringConstraints(max_length=200, pattern=NO_NUL)]
Address = Annotated[str, StringConstraints(max_length=320, pattern=NO_NUL)]
"""A phone number or an e-mail address."""
Line = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]
Link = Annotated[str, StringConstraints(max_length=8192, pattern=NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=64 * KIB, pattern=NO_NUL)]
"""However it is escaped, a text that is too long still fits into an event, and is told by its name."""
Body = Annotated[str, StringConstraints(pattern=NO_NUL)]
HeaderValue = Annotated[str, StringConstraints(max_length=16 * KIB, pattern=NO_NUL)]

TEXTS: Final[dict[str, Any]] = {
    "agent": Id,
    "instruction": Id,
    "ref": Ref,
    "external_id": MaybeId,
    "by": Name,
    "category": Name,
    "cause": Name,
    "name": Name,
    "source": Name,
    "tier": Name,
    "email": Address,
    "from": Address,
    "phone": Address,
    "to": Address,
    "reason": Line,
    "subject": Line,
    "page": Link,
    "referrer": Link,
    "recording": Link,
    "comment": Text,
    "text": Text,
    "headers": HeaderValue,
}
"""The kind of text that each field of an event holds, by the field's name on the wire."""

MAX_ATTACHMENTS: Final = 100
MAX_HEADERS: Final = 1000
MAX_REPEATS: Final = 50
"""The same header so many times."""
MAX_SECONDS: Final = 366 * 86_400
