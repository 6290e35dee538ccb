"""Texts of mails: charsets that lie, and encoded words as programs really write them (RFC 2047, RFC 2231)."""

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from typing import Final

_SUPERSETS: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "ascii": None,
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
"""A mail that says GB2312 holds characters of GBK and GB18030; one that says ASCII may hold anything."""
_TEXT_CODEC: Final = re.compile(
    r"utf-8(-sig)?|utf-(16|32)(-[lb]e)?|ascii|gb2312|gbk|gb18030|hz|big5(hkscs)?|cp\d+|iso8859-\d+|iso2022_\w+"
    r"|shift_jis\w*|euc_\w+|koi8-\w|mac-\w+|tis-620|johab"
)
"""Codecs for texts. Python has others by name, such as base64 and UTF-7, that no mail may choose."""
_GUESSES: Final = ("utf-8", "gb18030", "big5hkscs")
_LAST: Final = "cp1252"
_EIGHT_BIT: Final = re.compile(rb"[\x80-\xff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WORD: Final = re.compile(rb"=\?([!->@-~]{1,60})\?([bBqQ])\?([^?\r\n]*)\?=")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def decode_text(raw: bytes, charset: str | None = None) -> str:
    """A text whose charset may be missing, unknown or wrong; clean as `cleaned` leaves it."""
    return cleaned(_decode(raw, charset))


def cleaned(text: str) -> str:
    """The text with `\\n` for every line end and U+FFFD for what no text holds: control characters, lone surrogates.

    Each of them would also take six bytes in an event.
    """
    return _NO_TEXT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def decode_header(raw: str) -> str:
    """A header's value as one line. `raw` holds bytes beyond ASCII as surrogates, as the parser leaves them."""
    text = "".join(_words(_to_bytes(raw)))
    return _SURROGATE.sub("\ufffd", _CONTROLS.sub(" ", text)).strip()


def _to_bytes(raw: str) -> bytes:
    """The bytes of what the parser read as ASCII with surrogates."""
    return raw.encode("utf-8", "surrogateescape")


def _decode(raw: bytes, charset: str | None) -> str:
    if not _EIGHT_BIT.search(raw) and not _is_shifted(raw):
        return raw.decode("ascii") if b"\x00" not in raw else _declared(raw, charset)
    return _declared(raw, charset)


def _is_shifted(raw: bytes) -> bool:
    """Whether seven bits may be more than ASCII: ISO-2022 and HZ."""
    return b"\x1b" in raw or b"~{" in raw


def _declared(raw: bytes, charset: str | None) -> str:
    codec = _codec(charset)
    tries = [codec] if codec is not None else []
    if codec is not None and (codec.startswith(("iso8859", "cp125")) or (codec.startswith("utf-16") and 0 not in raw)):
        # These decode anything: what reads as UTF-8 is UTF-8.
        tries = ["utf-8", *tries]
    if codec == "big5hkscs":
        tries.append("cp950")  # Microsoft's, with a euro
    for each in tries if tries else _GUESSES:
        try:
            return raw.decode(each)
        except UnicodeDecodeError:
            continue
    if codec is not None and codec != "utf-8":
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode(codec, "replace")
    if codec == "utf-8":
        return _not_utf_8(raw)
    return raw.decode(_LAST, "replace")


def _not_utf_8(raw: bytes) -> str:
    """What says UTF-8 and is not: GB18030 if it reads so as a whole, else UTF-8 with gaps.

    A UTF-8 that was damaged or cut has more whole characters beyond ASCII than gaps.
    """
    broken = raw.decode("utf-8", "replace")
    gaps = broken.count("\ufffd")
    if 2 * gaps <= len(broken) - len(broken.encode("ascii", "ignore")):
        return broken
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError:
        return broken


def _codec(charset: str | None) -> str | None:
    name = (charset or "").strip().strip("\"'").lower()
    try:
        found = codecs.lookup(name).name if name and name.isascii() and len(name) <= 40 else ""
    except (LookupError, ValueError):
        found = ""
    if found == "" and name in ("x-gbk", "gb_2312-80", "cn-gb", "gb18030-2000"):
        found = "gb18030"
    if not _TEXT_CODEC.fullmatch(found):
        return None
    return _SUPERSETS.get(found, found)


def _words(raw: bytes) -> Iterator[str]:
    """The pieces of a header, decoded. Encoded words of one charset that follow each other are one text in pieces."""
    unfolded = re.sub(rb"\r?\n(?=[ \t])", b"", raw)
    charset, pending, place = "", b"", 0
    for word in _WORD.finditer(unfolded):
        between = unfolded[place : word.start()]
        place = word.end()
        named = word[1].decode("ascii").partition("*")[0].lower()
        if between.strip() or named != charset:
            yield from _ended(pending, charset)
            pending = b""
            if between.strip() or not charset:
                yield _decode(between, None)
        charset, pending = named, pending + _word_bytes(word[2], word[3])
    yield from _ended(pending, charset)
    yield _decode(unfolded[place:], None)


def _ended(pending: bytes, charset: str) -> Iterator[str]:
    if pending:
        yield _decode(pending, charset)


def _word_bytes(encoding: bytes, content: bytes) -> bytes:
    if encoding in b"qQ":
        return quopri.decodestring(content.replace(b"_", b" "), header=True)
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", content)
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return base64.b64decode(letters[: len(letters) // 4 * 4])
