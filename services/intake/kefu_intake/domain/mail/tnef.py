"""What Outlook packs into winmail.dat (TNEF): the files that were attached, and at times the text itself."""

import logging
from dataclasses import dataclass
from typing import Final

from tnefparse import TNEF

from kefu_intake.domain.mail.decoding import cleaned, decode_text

TYPES: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_MOST_FILES: Final = 100

# It logs names of files.
logging.getLogger("tnef-decode").disabled = True
logging.getLogger("tnefparse").disabled = True


@dataclass(frozen=True, slots=True)
class Package:
    """The contents of a winmail.dat."""

    text: str | None
    html: str | None
    files: list[tuple[str, bytes]]


def unpack(content: bytes) -> Package | None:
    """What is inside, or None when it cannot be read: then the file stays as it is."""
    if not content.startswith(_SIGNATURE):
        return None
    try:
        read = TNEF(content)
        files = [
            (cleaned(str(each.long_filename() or each.name or "")), bytes(each.data or b""))
            for each in read.attachments
        ]
        if not all(name and file for name, file in files):
            return None
        return Package(_text(read.body), _text(read.htmlbody), files[:_MOST_FILES])
    except Exception:  # noqa: BLE001 - the library raises whatever broken bytes lead it to, an unbound name included
        return None


def _text(body: object) -> str | None:
    match body:
        case bytes():
            return decode_text(body).rstrip("\ufffd") or None
        case str():
            return cleaned(body).rstrip("\ufffd") or None
        case _:
            return None
