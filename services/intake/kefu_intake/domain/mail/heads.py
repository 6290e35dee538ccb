"""A mail's header as bytes: where it ends, and what broken programs write into it (RFC 5322, section 2.2)."""

import re
from typing import Final

LONGEST: Final = 256 * 1024
"""Bytes of a whole header. Whatever is longer was made to exhaust us."""
END: Final = re.compile(rb"\r?\n\r?\n|\r\r")
"""The empty line after it."""
_MARK: Final = b"\xef\xbb\xbf"
_BREAK: Final = re.compile(rb"\r\n|\r|\n")
_FIELD: Final = re.compile(rb"[!-9;-~]+:|From ")
_SPACED: Final = re.compile(rb"([A-Za-z][A-Za-z0-9-]*)[ \t]+:")
_CERTAIN: Final = re.compile(
    rb"(from|to|subject|date|message-id|mime-version|content-type|content-transfer-encoding|received)[ \t]*:",
    re.IGNORECASE,
)
"""Where one of these follows before the empty line, the header has not ended yet."""
_WELL_FORMED: Final = re.compile(rb"(?:(?:[!-9;-~]+:|From |[ \t])[^\n]*(?:\n|\Z))*+")


def mended(raw: bytes) -> bytes:
    """The mail without lines that would end its header too early: a parser stops at the first without a colon."""
    raw = raw.removeprefix(_MARK)
    end = END.search(raw, 0, LONGEST)
    if end is None:
        return raw
    lines = _BREAK.split(raw[: end.start()])
    tidy = [_tidy(line) for line in lines]
    last = max((number for number, line in enumerate(tidy) if _CERTAIN.match(line)), default=-1)
    good = [*_fields(tidy[: last + 1]), *lines[last + 1 :]]
    return raw if good == lines else b"\r\n".join(good) + raw[end.start() :]


def split(raw: bytes) -> tuple[bytes, bytes]:
    """The fields and the rest, with `\\n` for every line end; the empty line between them belongs to neither."""
    text = re.sub(rb"\r\n?", b"\n", raw)
    found = _WELL_FORMED.match(text)
    end = found.end() if found else 0
    return text[:end], text[end:].removeprefix(b"\n")


def _fields(lines: list[bytes]) -> list[bytes]:
    good: list[bytes] = []
    is_dropped = False
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            is_dropped = not _FIELD.match(line)
        if not is_dropped:
            good.append(line)
    return good


def _tidy(line: bytes) -> bytes:
    named = line if _FIELD.match(line) else line.replace(b"\x00", b"")
    return _SPACED.sub(rb"\1:", named, count=1) if _SPACED.match(named) else named
