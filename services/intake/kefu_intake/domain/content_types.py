"""What a file is, by looking at its bytes: what the sender says only decides between what the bytes allow."""

import mimetypes
import re
from typing import Final

import puremagic

UNKNOWN: Final = "application/octet-stream"
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_LONGEST: Final = 100
_LOOKED_AT: Final = 64 * 1024
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_TEXTUAL: Final = frozenset(
    {
        "application/pdf",
        "application/postscript",
        "application/rtf",
        "application/xml",
        "image/svg+xml",
        "message/rfc822",
        "text/html",
        "text/rtf",
        "text/xml",
    }
)
"""Formats that may consist of plain characters; whatever else a text begins with by chance is no sign of a format."""


def type_of(content: bytes, declared: str | None, name: str | None) -> str:
    """The media type, in lower case and without parameters."""
    said = _well_formed(declared)
    guessed = _well_formed(mimetypes.guess_type(name)[0] if name else None)
    found = _magic(content)
    if _is_text(content):
        return _of_text([t for t in found if t in _TEXTUAL], said, guessed)
    if not found:
        return UNKNOWN
    for wish in (said, guessed):
        if wish is not None and wish in found:
            return wish
    # Every office document is a ZIP, and looks like each of them.
    return "application/zip" if content.startswith(b"PK") and "application/zip" in found else found[0]


def _of_text(found: list[str], said: str | None, guessed: str | None) -> str:
    for wish in (said, guessed):
        if wish is not None and (wish in found or (not found and wish.startswith("text/") and wish != "text/html")):
            return wish
    return found[0] if found else "text/plain"


def _magic(content: bytes) -> list[str]:
    """What the bytes allow, the likeliest first."""
    try:
        matches = puremagic.magic_string(content[:_LOOKED_AT])
    except (puremagic.PureError, ValueError, IndexError):
        matches = []
    found = [t for match in matches if (t := _well_formed(match.mime_type)) is not None]
    if content.startswith(b"PK\x03\x04"):
        found.append("application/zip")
    return found


def _is_text(content: bytes) -> bool:
    """Whether it reads as UTF-8 or GB18030 without control characters; a cut last character does not count."""
    head = content[:_LOOKED_AT]
    if not head or _CONTROL.search(head):
        return False
    return any(_decodes(head, charset) for charset in ("utf-8", "gb18030"))


def _decodes(head: bytes, charset: str) -> bool:
    try:
        head.decode(charset)
    except UnicodeDecodeError as error:
        return len(head) == _LOOKED_AT and error.start > _LOOKED_AT - 4
    return True


def _well_formed(type: str | None) -> str | None:
    bare = (type or "").partition(";")[0].strip().lower()
    return bare if len(bare) <= _LONGEST and _TYPE.fullmatch(bare) else None
