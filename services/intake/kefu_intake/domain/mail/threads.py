"""What keeps a conversation by e-mail together: ids of mails, and the tags of tickets (RFC 5322, section 3.6.4)."""

import base64
import hashlib
import re
from typing import Final

from kefu_intake.domain.mail.heads import split
from kefu_intake.domain.mail.reading import Mail

_ID_BYTES: Final = 20
_TAG: Final = re.compile(r"[\[【]\s*[#＃]\s*([0-9A-Za-z]{20,60})\s*[\]】]")
_PLUS: Final = re.compile(r"[^@]*\+([0-9A-Za-z]{20,60})@")
_MOST_TAGS: Final = 10
_SAME: Final = re.compile(rb"^(message-id|date|from|subject)[ \t]*:", re.IGNORECASE)


def interaction_of(mail: Mail, event_id: str) -> str:
    """The thread: a hash of the first id in References, else of In-Reply-To, else of the mail's own."""
    first = next(iter(mail.references), None) or mail.in_reply_to or mail.message_id or event_id
    digest = hashlib.sha256(first.encode()).digest()[:_ID_BYTES]
    return f"mail-{base64.b32encode(digest).decode().lower()}"


def event_id_of(raw: bytes) -> str:
    """What is the same for every delivery of one mail, and for no other: it survives new Received lines.

    Whatever is no header field counts, wherever it stands: a mail that is taken for another one is lost.
    """
    head, body = split(raw)
    digest = hashlib.sha256()
    for line in sorted(_same_headers(head)):
        digest.update(line + b"\n")
    digest.update(b"\n" + body.rstrip(b"\n"))
    return f"mail-{digest.hexdigest()[: 2 * _ID_BYTES]}"


def tags_in(mail: Mail) -> list[str]:
    """What may be ticket tags, in small letters: those in the subject, then those in addresses."""
    found = [tag.lower() for tag in _TAG.findall(mail.subject or "")]
    found += [plus[1].lower() for each in mail.to if (plus := _PLUS.match(each.address))]
    return found[:_MOST_TAGS]


def _same_headers(head: bytes) -> list[bytes]:
    unfolded = re.sub(rb"\n[ \t]+", b" ", head)
    lines = (line for line in unfolded.split(b"\n") if _SAME.match(line))
    return [line.partition(b":")[0].strip().lower() + b":" + line.partition(b":")[2].strip() for line in lines]
