"""The parts of a mail: which are its text, and which are files (RFC 2045 to 2049, RFC 2183)."""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Final

from kefu_intake.domain.content_types import type_of
from kefu_intake.domain.mail import tnef
from kefu_intake.domain.mail.decoding import decode_header, decode_text
from kefu_intake.domain.mail.parsing import TooMany

MOST_PARTS: Final = 1000
_NAME: Final = 200
_BROKEN: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What the standard library's generator raises for messages that it parsed itself."""


@dataclass(frozen=True, slots=True)
class File:
    """An attached file. `type` was found by looking at it; `content_id` is by what the HTML shows it."""

    name: str
    content: bytes
    type: str
    content_id: str | None = None


@dataclass(slots=True)
class Contents:
    """What a mail consists of."""

    texts: list[str] = field(default_factory=list)
    htmls: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)


def contents_of(mail: "Message[str, str]") -> Contents:
    """Texts, HTMLs and files in their order. Raises `TooMany`, and `RecursionError` for mails deep in each other."""
    found = Contents()
    for part in _leaves(mail):
        _take(part, found, is_whole=part is mail)
    return found


def _leaves(mail: "Message[str, str]") -> Iterator["Message[str, str]"]:
    waiting = [mail]
    seen = 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise TooMany(f"expected at most {MOST_PARTS:,} parts")
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting += reversed(_below(part))
        else:
            yield part


def _below(part: "Message[str, str]") -> list["Message[str, str]"]:
    """The messages of which it consists. What holds none is not asked: it would be decoded by whatever it names."""
    found = part.get_payload() if part.is_multipart() else []
    return [each for each in found if isinstance(each, Message)] if isinstance(found, list) else []


def _take(part: "Message[str, str]", found: Contents, *, is_whole: bool) -> None:
    type = part.get_content_type()
    name = _name_of(part)
    is_attached = _disposition(part) == "attachment" or (name is not None and not is_whole)
    content = _content(part)
    if part.get_content_maintype() == "multipart":
        type = "text/plain"  # without the boundary that it names it has no parts: what is there is its text
    if type in ("text/plain", "text/html") and not is_attached:
        charset = part.get_param("charset")
        text = decode_text(content, None if charset is None else _plain(charset))
        if text.strip():
            (found.texts if type == "text/plain" else found.htmls).append(text)
    elif (type in tnef.TYPES or name == tnef.FILE_NAME) and (package := tnef.unpack(content)) is not None:
        found.files += [_file(file_name, file, None, None, found) for file_name, file in package.files]
        found.texts += [package.text] if package.text and not found.texts else []
        found.htmls += [package.html] if package.html and not found.htmls else []
        if package.has_rtf and not (found.texts or found.htmls):
            found.files.append(_file(name, content, type, None, found))
    elif content or name is not None:
        content_id = (decode_header(part.get("Content-ID", "")) or "").strip("<> ")[:_NAME] or None
        found.files.append(_file(name or _inner_name(part), content, type, content_id, found))


def _file(name: str | None, content: bytes, declared: str | None, content_id: str | None, found: Contents) -> File:
    safe = _safe(name or "")
    type = "message/rfc822" if declared == "message/rfc822" else type_of(content, declared, safe)
    if not safe:
        safe = f"attachment-{len(found.files) + 1}{mimetypes.guess_extension(type) or '.bin'}"
    return File(safe, content, type, content_id)


def _safe(name: str) -> str:
    """A name without a way to other folders; its end, which tells what it is, stays when it is too long."""
    bare = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable()).strip(" .")
    if len(bare) <= _NAME:
        return bare
    stem, dot, end = bare.rpartition(".")
    return bare[:_NAME] if len(end) > 20 or not dot else f"{stem[: _NAME - 1 - len(end)]}.{end}"


def _name_of(part: "Message[str, str]") -> str | None:
    for header, parameter in (("content-disposition", "filename"), ("content-type", "name")):
        value = part.get_param(parameter, None, header)
        if value is not None:
            return _plain(value) or None
    return None


def _plain(value: str | tuple[str | None, str | None, str]) -> str:
    """A parameter's value, in whichever way it was encoded: RFC 2231, or encoded words, which nobody may use there."""
    if isinstance(value, tuple):
        charset, _, encoded = value
        return decode_header(decode_text(encoded.encode("latin-1", "replace"), charset))
    return decode_header(value)


def _disposition(part: "Message[str, str]") -> str:
    return decode_header(part.get("Content-Disposition", "")).partition(";")[0].strip().lower()


def _inner_name(part: "Message[str, str]") -> str | None:
    """A forwarded mail is named after its subject."""
    below = _below(part)
    if not below:
        return None
    subject = decode_header(below[0].get("Subject", "")).replace("/", "_")[: _NAME - 4]
    return f"{subject}.eml" if subject else None


def _content(part: "Message[str, str]") -> bytes:
    if part.is_multipart():  # a mail in the mail, or a report's fields
        whole = b"\n".join(map(_whole, _below(part)))
        return _decoded(whole, part) if not any(each.keys() for each in _below(part)) else whole
    try:
        decoded = part.get_payload(decode=True)
    except _BROKEN:
        return b""
    return decoded if isinstance(decoded, bytes) else b""


def _decoded(content: bytes, part: "Message[str, str]") -> bytes:
    """What some programs encode although nobody may (RFC 2046, section 5.2.1): it looks like a mail without header."""
    encoded: Message[str, str] = Message()
    encoded["Content-Transfer-Encoding"] = part.get("Content-Transfer-Encoding", "8bit")
    encoded.set_payload(content.strip().decode("ascii", "surrogateescape"))
    return _content(encoded)


def _whole(message: "Message[str, str]") -> bytes:
    try:
        return message.as_bytes()
    except _BROKEN:
        return b""
