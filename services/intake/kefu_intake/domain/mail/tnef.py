"""What Outlook packs into winmail.dat: the files that were attached, and at times the text itself.

Source: MS-OXTNEF, section 2.1, and MS-OXCMSG for the properties. Every count is checked against the bytes that are
there; libraries believe it, and never return from 40 bytes that promise four billion properties.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from kefu_intake.domain.mail.decoding import decode_text

TYPES: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
FILE_NAME: Final = "winmail.dat"
_SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_MOST: Final = 2000
"""Attributes of a package, and properties of one of them."""
_MOST_FILES: Final = 100
# Attributes, by the lower half of their ids.
_BODY, _DATA, _TITLE = 0x800C, 0x800F, 0x8010
_RENDERING, _PROPERTIES, _FILE_PROPERTIES, _CODEPAGE = 0x9002, 0x9003, 0x9005, 0x9007
# Properties.
_TEXT, _RTF, _HTML, _CODEPAGE_OF_HTML = 0x1000, 0x1009, 0x1013, 0x3FDE
_CONTENT, _LONG_NAME = 0x3701, 0x3707
_FIXED: Final = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
"""Sizes of values by their type, filled up to four bytes."""
_WIDE, _BINARY = 0x1F, 0x102
_VARIABLE: Final = frozenset({0xD, 0x1E, _WIDE, _BINARY})
_SEVERAL: Final = 0x1000
_NAMED: Final = 0x8000


class _Broken(Exception):
    """The bytes are no such package, or one that was made to exhaust us."""


@dataclass(slots=True)
class Package:
    """The contents of a winmail.dat."""

    text: str | None = None
    html: str | None = None
    files: list[tuple[str, bytes]] = field(default_factory=list)
    has_rtf: bool = False
    """Whether the text is there as RTF too, which we do not read."""


class _Reader:
    """Takes bytes from the front. Raises `_Broken` when there are fewer."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._place = 0

    def take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._content):
            raise _Broken
        taken = bytes(self._content[self._place : end])
        self._place = end
        return taken

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size), "little")

    def padded(self, size: int) -> bytes:
        taken = self.take(size)
        self.take(-size % 4)
        return taken

    @property
    def is_at_end(self) -> bool:
        return self._place >= len(self._content)


def unpack(content: bytes) -> Package | None:
    """What is inside, or None when it cannot be read as a whole: then the file stays as it is."""
    if not content.startswith(_SIGNATURE):
        return None
    try:
        package = _package(content)
    except _Broken:
        return None
    return package if all(name and file for name, file in package.files) else None


def _package(content: bytes) -> Package:
    package = Package()
    charset = "cp1252"
    for id, data in _attributes(content):
        if id == _CODEPAGE:
            charset = _charset(data)
        elif id == _BODY:
            package.text = _text(data, charset)
        elif id == _PROPERTIES:
            _take_message(data, charset, package)
        elif id == _RENDERING:
            package.files.append(("", b""))
            if len(package.files) > _MOST_FILES:
                raise _Broken
        elif id in (_TITLE, _DATA, _FILE_PROPERTIES):
            if not package.files:
                raise _Broken
            package.files[-1] = _with(package.files[-1], id, data, charset)
    return package


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(content)
    reader.take(len(_SIGNATURE) + 2)
    for _ in range(_MOST):
        if reader.is_at_end:
            return
        reader.take(1)
        id = reader.number() & 0xFFFF
        data = reader.take(reader.number())
        reader.take(2)
        yield id, data
    raise _Broken


def _take_message(data: bytes, charset: str, package: Package) -> None:
    found = _properties(data)
    package.has_rtf = _RTF in found
    if _TEXT in found:
        package.text = _property_text(found[_TEXT], charset)
    if _HTML in found:
        kind, html = found[_HTML]
        declared = _charset(found[_CODEPAGE_OF_HTML][1]) if _CODEPAGE_OF_HTML in found else charset
        package.html = _property_text((kind, html), declared)


def _with(file: tuple[str, bytes], id: int, data: bytes, charset: str) -> tuple[str, bytes]:
    name, content = file
    if id == _DATA:
        return name, data
    if id == _TITLE:
        return name or _text(data, charset) or "", content
    found = _properties(data)
    kind, other_content = found.get(_CONTENT, (_BINARY, b""))
    long_name = _property_text(found[_LONG_NAME], charset) if _LONG_NAME in found else None
    # A mail in the package is an object and not bytes: without content, the package stays as it is.
    return long_name or name, content or (other_content if kind == _BINARY else b"")


def _properties(data: bytes) -> dict[int, tuple[int, bytes]]:
    """Type and first value of each property, by its id."""
    reader = _Reader(data)
    count = reader.number()
    if count > _MOST:
        raise _Broken
    found: dict[int, tuple[int, bytes]] = {}
    for _ in range(count):
        kind, id = reader.number(2), reader.number(2)
        if id >= _NAMED:
            reader.take(16)
            if reader.number() == 0:
                reader.take(4)
            else:
                reader.padded(reader.number())
        found.setdefault(id, (kind & ~_SEVERAL, _value(reader, kind)))
    return found


def _value(reader: _Reader, kind: int) -> bytes:
    bare = kind & ~_SEVERAL
    if bare not in _VARIABLE and bare not in _FIXED:
        raise _Broken
    count = reader.number() if kind & _SEVERAL or bare in _VARIABLE else 1
    if count > _MOST:
        raise _Broken
    values = [reader.padded(reader.number()) if bare in _VARIABLE else reader.take(_FIXED[bare]) for _ in range(count)]
    return values[0] if values else b""


def _property_text(value: tuple[int, bytes], charset: str) -> str | None:
    kind, raw = value
    return _text(raw, "utf-16-le" if kind == _WIDE else charset)


def _text(raw: bytes, charset: str) -> str | None:
    return decode_text(raw, charset).rstrip("\ufffd") or None  # which a NUL at the end has become


def _charset(data: bytes) -> str:
    number = int.from_bytes(data[:4], "little")
    return "utf-8" if number == 65001 else f"cp{number}"
