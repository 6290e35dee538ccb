"""From the bytes of an e-mail to what it says. Source: RFC 5322, RFC 2045 to 2049; and what programs really send."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, Final

from kefu_common.events.words import Auto
from kefu_intake.domain.complaints import Complaint
from kefu_intake.domain.mail.automatic import auto_of
from kefu_intake.domain.mail.decoding import decode_header
from kefu_intake.domain.mail.heads import END, LONGEST, mended
from kefu_intake.domain.mail.html_text import text_of
from kefu_intake.domain.mail.parsing import LONGEST_FIELD, TooMany, parse
from kefu_intake.domain.mail.parts import File, contents_of

_MOST_LINES: Final = 1_000_000
_MOST_MARKS: Final = 10_000
_SUBJECT: Final = 2000
_KEPT_VALUE: Final = 8 * 1024
_KEPT_IN_ALL: Final = 64 * 1024
_MOST_ADDRESSES: Final = 100
_FIRST_REFERENCES, _LAST_REFERENCES = 1, 50
_LONGEST_ID: Final = 250
_NEAR: Final = timedelta(hours=1)
_KEPT: Final = {
    name.lower(): name
    for name in (
        *("From", "To", "Cc", "Reply-To", "Sender", "Subject", "Date", "Message-ID", "In-Reply-To", "References"),
        *("Auto-Submitted", "Precedence", "List-Id", "List-Unsubscribe", "List-Post", "X-Auto-Response-Suppress"),
        *("X-Autoreply", "X-Autorespond", "X-Loop", "X-Mailer", "User-Agent", "X-Priority", "Importance"),
        *("Content-Language", "Organization"),
    )
}
"""Headers that are the same in every delivery of a mail, so that a repeated one is the same event."""
_ID: Final = re.compile(rf"<\s*([^<>\s]{{1,{_LONGEST_ID}}})\s*>")
_BARE_ID: Final = re.compile(rf"[^<>\s,;()]{{1,{_LONGEST_ID}}}")
_ADDRESS: Final = re.compile(r"[^\s<>,;:\"()\[\]]{1,64}@[^\s<>,;:\"()\[\]]{1,255}")
_HEADER: Final = re.compile(rb"^[A-Za-z][A-Za-z0-9._-]*[ \t]*:", re.MULTILINE)
_BROKEN: Final = (AttributeError, LookupError, TypeError, ValueError)


class MailInvalid(Exception):
    """No mail can be read from these bytes; `complaints` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.complaints: list[Complaint] = [("", message)]


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox as written: `address` has an `@`."""

    name: str | None
    address: str


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail says. Ids are without angle brackets; texts hold neither NUL nor lone surrogates."""

    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    """The oldest first; of long threads the first and the last 50."""
    happened_at: datetime | None
    """When it was sent; where that differs by an hour from when a server first had it, that."""
    sender: Address | None
    reply_to: Address | None
    to: tuple[Address, ...]
    """Everybody to whom it went, as far as it says."""
    subject: str | None
    text: str | None
    html: str | None
    headers: dict[str, str | list[str]]
    files: tuple[File, ...]
    auto: Auto | None


def read_mail(raw: bytes, envelope_sender: str | None = None) -> Mail:
    """Read a mail. `envelope_sender` is empty for the null sender, None when nobody knows it.

    Raises:
        MailInvalid: it is no mail, or one that was made to exhaust whoever reads it.
    """
    raw = mended(raw)
    _check_bounds(raw)
    try:
        parsed = parse(raw)
        contents = contents_of(parsed)
    except TooMany as error:
        raise MailInvalid(str(error)) from None
    except RecursionError:
        raise MailInvalid("expected parts nested less deep") from None
    fields = _fields(parsed)
    html = "\n".join(contents.htmls) or None
    text = "\n\n".join(contents.texts) or (text_of(html) if html else "")
    sender = _first_address(fields.get("from", ()))
    return Mail(
        message_id=_first_id(fields.get("message-id", ())),
        in_reply_to=_first_id(fields.get("in-reply-to", ())),
        references=_references(fields.get("references", ())),
        happened_at=_happened_at(fields),
        sender=sender or _first_address(fields.get("sender", ())),
        reply_to=_first_address(fields.get("reply-to", ())),
        to=_recipients(fields),
        subject=(_decoded(fields, "subject") or [""])[0][:_SUBJECT] or None,
        text=text or None,
        html=html,
        headers=_kept(fields),
        files=tuple(contents.files),
        auto=_auto(parsed, fields, sender, envelope_sender),
    )


def ids_in(value: str) -> list[str]:
    """The ids in a header's value, without angle brackets; bare ones where there are none with."""
    return _ID.findall(value) or [each for each in _BARE_ID.findall(value) if "@" in each]


def _check_bounds(raw: bytes) -> None:
    """Refused before it costs anything. Raises `MailInvalid`."""
    end = END.search(raw)
    head = raw[: end.start()] if end else raw
    if len(head) > LONGEST:
        raise MailInvalid(f"expected a header of at most {LONGEST // 1024} KiB and an empty line after it")
    if not _HEADER.search(head):
        raise MailInvalid("expected an e-mail, which begins with header fields such as From:")
    if raw.count(b"\n") > _MOST_LINES or raw.count(b"\r") > 2 * _MOST_LINES:
        raise MailInvalid(f"expected at most {_MOST_LINES:,} lines")
    if raw.count(b"\n--") > _MOST_MARKS:
        raise MailInvalid(f"expected at most {_MOST_MARKS:,} lines that begin with --")


def _fields(parsed: "Message[str, str]") -> dict[str, list[str]]:
    """The values of each header as they came, by its name in lower case."""
    fields: dict[str, list[str]] = {}
    for name, value in parsed.raw_items():
        fields.setdefault(name.lower(), []).append(value[:LONGEST_FIELD])
    return fields


def _decoded(fields: dict[str, list[str]], name: str) -> list[str]:
    return [decode_header(value) for value in fields.get(name, [])]


def _first_id(values: Iterable[str]) -> str | None:
    return next((id for value in values for id in ids_in(decode_header(value))), None)


def _references(values: Iterable[str]) -> tuple[str, ...]:
    found = list(dict.fromkeys(id for value in values for id in ids_in(decode_header(value))))
    if len(found) <= _FIRST_REFERENCES + _LAST_REFERENCES:
        return tuple(found)
    return tuple(found[:_FIRST_REFERENCES] + found[-_LAST_REFERENCES:])


def _addresses(values: Iterable[str]) -> list[Address]:
    found: list[Address] = []
    for value in values:
        try:
            pairs = getaddresses([value])
        except (*_BROKEN, RecursionError):
            pairs = []
        named = [Address(decode_header(name) or None, decode_header(address)) for name, address in pairs]
        good = [each for each in named if _ADDRESS.fullmatch(each.address)]
        found += good or [Address(None, each) for each in _ADDRESS.findall(decode_header(value))]
    return found[:_MOST_ADDRESSES]


def _first_address(values: Iterable[str]) -> Address | None:
    return next(iter(_addresses(values)), None)


def _recipients(fields: dict[str, list[str]]) -> tuple[Address, ...]:
    names = ("delivered-to", "x-original-to", "to", "cc")  # ours first: they must not be cut off
    return tuple(_addresses(value for name in names for value in fields.get(name, ()))[:_MOST_ADDRESSES])


def _happened_at(fields: dict[str, list[str]]) -> datetime | None:
    sent = _date(next(iter(fields.get("date", ())), ""))
    stamps = (_date(value.rpartition(";")[2]) for value in fields.get("received", ()))
    received = next((stamp for stamp in stamps if stamp is not None), None)
    if sent is None or received is None:
        return sent or received
    return sent if abs(sent - received) <= _NEAR else received


def _date(value: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(decode_header(value))
        # `-0000` means UTC of which the zone is not known (RFC 5322, section 3.3).
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read
    except (*_BROKEN, OverflowError):
        return None


def _kept(fields: dict[str, list[str]]) -> dict[str, str | list[str]]:
    kept: dict[str, str | list[str]] = {}
    room = _KEPT_IN_ALL
    for name, shown in _KEPT.items():
        values = [value[:_KEPT_VALUE] for value in _decoded(fields, name)][:10]
        size = sum(map(len, values))
        if not values or size > room:
            continue
        room -= size
        kept[shown] = values[0] if len(values) == 1 else values
    return kept


def _auto(
    parsed: "Message[str, str]", fields: dict[str, list[str]], sender: Address | None, envelope_sender: str | None
) -> Auto | None:
    is_report = parsed.get_content_type() == "multipart/report" and _report_type(parsed) != "disposition-notification"
    return_path = next(iter(fields.get("return-path", ())), None)
    null_sender = envelope_sender == "" or (envelope_sender is None and (return_path or "").strip() == "<>")
    named: dict[str, Any] = {name: _decoded(fields, name) for name in fields}
    return auto_of(named, sender.address if sender else "", is_report, null_sender)


def _report_type(parsed: "Message[str, str]") -> str:
    value = parsed.get_param("report-type")
    return value.lower() if isinstance(value, str) else ""
