"""Reading e-mails as they are: nothing they hold may stop us, and what they say comes out."""

import struct
import time
from base64 import encodebytes
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kefu_common.events.words import Auto
from kefu_intake.domain.content_types import type_of
from kefu_intake.domain.mail.html_text import text_of
from kefu_intake.domain.mail.marks import marks_of
from kefu_intake.domain.mail.reading import Address, Mail, MailInvalid, read_mail
from kefu_intake.domain.mail.threads import event_id_of, interaction_of, tags_in
from kefu_intake.domain.mail.tnef import unpack
from tests.intake.mail_corpus import (
    CASES,
    ZIP,
    Case,
    attribute,
    mail,
    mapi,
    multi,
    number,
    packed,
    part,
    plain,
    tnef,
)

EXHAUSTING = {
    "multiparts in each other before many lines": b"From: a@b\r\n"
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(900))
    + b"x\r\n" * 900_000,
    "semicolons in a part's header": multi(part(b"text/plain" + b";" * 1024 * 1024, b"x")),
    "semicolons in the headers of many parts": multi(*[part(b"text/plain" + b";" * 20 * 1024, b"x")] * 900),
    "a winmail.dat of crumbs": packed(tnef() + attribute(1, 0x00089006, bytes(4)) * 500_000),
    "a winmail.dat of many files": packed(tnef(*[("a", b"x")] * 50_000)),
    "boundaries and nothing else": multi(b"")[:-7] + b"--b\n\n" * (6 * 1024 * 1024),
}
RECEIVED = b"Received: from a by b; Wed, 25 Nov 2026 10:30:00 +0800"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_mail_gives_what_it_says_or_is_refused(case: Case) -> None:
    if case.status == 422:
        with pytest.raises(MailInvalid):
            read_mail(case.raw)
        return
    read = read_mail(case.raw)
    for name, expected in case.expects.items():
        found = getattr(read, name)
        assert (found.address if isinstance(found, Address) else found) == expected, name
    assert tuple((file.name, file.type) for file in read.files) == case.files


def test_a_mail_in_the_mail_is_decoded_where_it_was_encoded_although_nobody_may() -> None:
    inner = b"Subject: x\r\n\r\nhi"
    encoded = part(b"message/rfc822", encodebytes(inner), b"Content-Transfer-Encoding: base64")
    assert read_mail(multi(plain(), encoded)).files[0].content == inner


def test_the_name_of_a_writer_is_read_in_any_charset() -> None:
    assert read_mail(mail(sender="王芳".encode("gbk") + b" <w@example.com>")).sender == Address("王芳", "w@example.com")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_no_mail_is_too_strange_to_be_read_or_refused(case: Case, data: st.DataObject) -> None:
    whole = case.raw[:4000]
    at = data.draw(st.integers(0, len(whole)))
    raw = whole[:at] + data.draw(st.binary(max_size=60)) + whole[data.draw(st.integers(at, len(whole))) :]
    try:
        read = read_mail(raw, data.draw(st.none() | st.just("") | st.just("a@b")))
    except MailInvalid:
        return
    for text in _texts(read):
        assert "\x00" not in text
        text.encode()
    assert len(read.references) <= 51
    assert interaction_of(read, "e").startswith("mail-")
    assert all(len(tag) <= 60 for tag in tags_in(read))


def _texts(read: Mail) -> list[str]:
    found = [value for f in fields(Mail) if isinstance(value := getattr(read, f.name), str)]
    found += [file.name for file in read.files]
    for value in read.headers.values():
        found += [value] if isinstance(value, str) else value
    return found


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=300),
    st.sampled_from(["<p>", "</p>", "<a href='http://x'>", "<!--", "<script>", "<", "&#", "<li>"]),
)
def test_no_html_is_too_strange_for_a_text(text: str, tag: str) -> None:
    assert "\x00" not in text_of(f"{text}{tag}{text}{tag}")


def test_the_same_mail_is_the_same_event_on_whatever_way_it_came() -> None:
    raw = multi(plain("一"), lines=(b"Subject: x", b"Date: Wed, 25 Nov 2026 10:00:00 +0800"))
    same = [raw, RECEIVED + b"\r\nDelivered-To: a@b\r\n" + raw, raw.replace(b"\r\n", b"\n"), raw + b"\r\n\r\n"]
    assert len({event_id_of(each) for each in same}) == 1
    others = [raw.replace("一".encode(), "二".encode()), raw.replace(b"Subject: x", b"Subject: y")]
    assert len({event_id_of(each) for each in [raw, *others]}) == 3


@pytest.mark.parametrize(
    "broken",
    [
        b"From: a@b\nno header %s",
        b"From: a@b\nno header\nlike: a header %s",
        b"From: a@b\nno header %s\n\nthe rest",
        b"From: a@b\n \n%s\n\nthe rest",
        b"From: a@b\rno header %s\r\rthe rest",
    ],
)
def test_mails_that_differ_are_different_events_wherever_their_header_breaks_off(broken: bytes) -> None:
    assert event_id_of(broken % b"one") != event_id_of(broken % b"two")
    assert event_id_of(broken % b"one") == event_id_of(RECEIVED + b"\r\n" + broken % b"one")


def test_the_id_of_an_event_stays_what_it_was_in_older_versions() -> None:
    raw = multi(plain("一"), lines=(b"Subject: x", b"Date: Wed, 25 Nov 2026 10:00:00 +0800"))
    assert event_id_of(raw) == "mail-6df485e39d13c4a7516d8b870b956d60750ad5c0"


def test_a_thread_is_one_interaction_by_the_first_id_that_names_it() -> None:
    first = read_mail(mail())
    answer = read_mail(
        mail(b"References: <m@example.com> <x@y>", b"In-Reply-To: <x@y>").replace(
            b"<m@example.com>\r\nR", b"<n@e>\r\nR"
        )
    )
    short = read_mail(
        mail(b"In-Reply-To: <m@example.com>").replace(b"Message-ID: <m@example.com>", b"Message-ID: <o@e>")
    )
    assert len({interaction_of(each, "e") for each in (first, answer, short)}) == 1
    nameless = read_mail(b"From: a@b\r\n\r\nx")
    assert interaction_of(nameless, "e-1") != interaction_of(nameless, "e-2")


def test_it_happened_when_it_was_sent_unless_the_sender_s_clock_is_wrong() -> None:
    at = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    assert read_mail(mail(b"Date: Wed, 25 Nov 2026 10:00:00 +0800", RECEIVED)).happened_at == at.replace(minute=0)
    assert read_mail(mail(b"Date: Wed, 25 Nov 2020 10:00:00 +0800", RECEIVED)).happened_at == at
    assert read_mail(mail(RECEIVED)).happened_at == at


def test_tags_stand_in_subjects_and_addresses() -> None:
    tag = "abcdefghij234567ABCDEFGHIJ"
    to = f"To: service+{tag}@shop.example, x+short@shop.example".encode()
    read = read_mail(mail(to, f"Subject: Re: x [#{tag}x] 【＃{tag}】 [#short]".encode()))
    assert tags_in(read) == [f"{tag}x".lower(), tag.lower(), tag.lower()]


def test_an_envelope_says_more_than_a_header() -> None:
    assert read_mail(mail(), "").auto is Auto.BOUNCE
    assert read_mail(mail(b"Return-Path: <>"), "w@example.com").auto is None


def test_headers_that_differ_between_deliveries_are_not_kept() -> None:
    lines = (
        RECEIVED,
        b"Return-Path: <w@example.com>",
        b"X-Spam-Score: 1",
        b"DKIM-Signature: v=1",
        b"X-Mailer: Foxmail",
    )
    assert set(read_mail(mail(*lines)).headers) == {"From", "Message-ID", "X-Mailer"}


def test_headers_that_an_adapter_took_apart_are_marked_alike() -> None:
    headers: dict[str, str | list[str]] = {
        "Message-Id": "<m@x>",
        "references": "<a@x> <b@x>",
        "Auto-Submitted": "auto-replied",
        "To": ["a", "b"],
    }
    assert marks_of(headers) == {"message_id": "m@x", "references": ["a@x", "b@x"], "auto": Auto.REPLY}
    assert marks_of({"In-Reply-To": "<a@x>"}) == {"references": ["a@x"]}
    assert marks_of({"Content-Type": "multipart/report; report-type=delivery-status"}) == {"auto": Auto.BOUNCE}
    assert marks_of({"Return-Path": "<>"}) == {"auto": Auto.BOUNCE}
    assert marks_of({}) == {}


def test_a_mail_of_30_mib_is_read_in_bounded_time() -> None:
    content = bytes(22 * 1024 * 1024)
    zeros = part(b"application/zip", encodebytes(content), b"Content-Transfer-Encoding: base64")
    started = time.monotonic()
    read = read_mail(multi(plain(), zeros))
    assert len(read.files[0].content) == len(content)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "crumbs",
    [
        tnef() + attribute(1, 0x00088004, b"") * 2001,
        tnef(properties=mapi(*[number(0x3000, 1)] * 2001)),
        tnef(properties=mapi(struct.pack("<HHL", 0x1003, 0x3000, 2001) + bytes(4 * 2001))),
        tnef(*[("a", b"x")] * 101),
    ],
    ids=["attributes", "properties", "values", "files"],
)
def test_a_winmail_dat_of_too_many_crumbs_stays_as_it_is(crumbs: bytes) -> None:
    assert unpack(crumbs) is None


@pytest.mark.parametrize("raw", EXHAUSTING.values(), ids=EXHAUSTING)
def test_a_mail_that_is_made_to_exhaust_is_read_or_refused_in_bounded_time(raw: bytes) -> None:
    started = time.monotonic()
    with suppress(MailInvalid):
        read_mail(raw)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "html",
    ["<div>" * 200_000, "<a " * 300_000, "<!--" * 200_000, "<script>" * 100_000, "<" * 1_000_000, '<x "' * 250_000],
    ids=lambda html: html[:5],
)
def test_html_that_is_made_to_exhaust_is_read_in_bounded_time(html: str) -> None:
    started = time.monotonic()
    text_of(html)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("content", "declared", "name", "expected"),
    [
        (b"%PDF-1.7\n\xff", None, None, "application/pdf"),
        (b"%PDF-1.7 all of it plain", "text/html", None, "application/pdf"),
        (ZIP, "application/zip", None, "application/zip"),
        (ZIP, None, "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"BM is how this text begins", None, "a.txt", "text/plain"),
        ("中文".encode("gb18030"), None, None, "text/plain"),
        (b"a,b\n1,2", "text/csv", None, "text/csv"),
        (b"just text", "text/html", None, "text/plain"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(50), "image/jpeg", None, "image/jpeg"),
        (bytes(range(256)), "image/png", "a.png", "application/octet-stream"),
        (b"", "image/png", None, "application/octet-stream"),
        (b"\x00", "bad type; x", None, "application/octet-stream"),
    ],
)
def test_a_file_is_what_its_bytes_say(content: bytes, declared: str | None, name: str | None, expected: str) -> None:
    assert type_of(content, declared, name) == expected
