"""From a mail that was read to the event `email.received`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from kefu_common.attachments import Attachment
from kefu_common.events.words import Auto
from kefu_intake.domain.forms import Form
from kefu_intake.domain.limits import MAX_ATTACHMENTS
from kefu_intake.domain.mail.reading import Address, Mail
from kefu_intake.domain.stamping import out_of_time

_WRITERS_UNKNOWN: Final = frozenset({Auto.BOUNCE, Auto.LOOP})
_NAME: Final = 200
_ADDRESS: Final = 320


def form_of(
    mail: Mail,
    id: str,
    site: str,
    interaction: str,
    files: Sequence[tuple[str, Attachment, str | None]],
    now: datetime,
) -> Form:
    """The event. `files` are name, stored file and Content-ID, in the mail's order.

    A mail is never refused for its date: where that cannot be right, it happened now.
    """
    happened_at = mail.happened_at
    if happened_at is None or out_of_time(happened_at, now) is not None:
        happened_at = now
    return {
        "id": id,
        "type": "email.received",
        "site": site,
        "interaction": interaction,
        "occurred_at": happened_at,
        "source": None,
        "category": None,
        "contact": _contact(mail),
        "data": {
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "headers": mail.headers,
            "attachments": [
                {"ref": stored.ref, "name": name, "content_id": content_id}
                for name, stored, content_id in files[:MAX_ATTACHMENTS]
            ],
            "message_id": mail.message_id,
            "references": list(mail.references) or ([mail.in_reply_to] if mail.in_reply_to else None),
            "auto": mail.auto,
        },
    }


def _contact(mail: Mail) -> dict[str, str | None] | None:
    """Who wrote: whoever is to be answered, as web forms name their visitor in Reply-To. A bounce has no writer."""
    if mail.auto in _WRITERS_UNKNOWN:
        return None
    # A mailing list puts its own address there.
    writer: Address | None = mail.sender if mail.auto is Auto.BULK else mail.reply_to or mail.sender
    if writer is None:
        return None
    return {"email": writer.address[:_ADDRESS], "name": (writer.name or "")[:_NAME] or None}
