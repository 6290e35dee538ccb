"""Odd and hostile e-mails, each with what must come out of it: what is said, or the status of the refusal."""

import struct
from base64 import b64encode, encodebytes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kefu_common.events.words import Auto
from kefu_intake.domain.mail.reading import Address

CRLF = b"\r\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
ZIP = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)


@dataclass(frozen=True)
class Case:
    """A mail's bytes. `expects` holds fields of `Mail`; `files` (name, type) pairs."""

    name: str
    raw: bytes
    expects: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    status: int = 202


def word(text: str, charset: str, encoding: str = "B") -> bytes:
    raw = text.encode(charset)
    if encoding == "B":
        return b"=?%s?B?%s?=" % (charset.encode(), b64encode(raw))
    return b"=?%s?Q?%s?=" % (charset.encode(), "".join(f"={b:02X}" for b in raw).encode())


def mail(*lines: bytes, body: bytes = b"hello", sender: bytes = b"w@example.com") -> bytes:
    """A mail with these header lines, from a usual sender."""
    return CRLF.join([b"From: " + sender, b"Message-ID: <m@example.com>", *lines, b"", body])


def multi(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b", lines: tuple[bytes, ...] = ()) -> bytes:
    """A multipart mail."""
    content = b"".join(b"--" + boundary + CRLF + part + CRLF for part in parts) + b"--" + boundary + b"--" + CRLF
    return mail(b'Content-Type: multipart/%s; boundary="%s"' % (kind, boundary), *lines, body=content)


def part(type: bytes, content: bytes, *lines: bytes) -> bytes:
    return CRLF.join([b"Content-Type: " + type, *lines, b"", content])


def plain(text: str = "正文", charset: str = "utf-8") -> bytes:
    return part(b"text/plain; charset=" + charset.encode(), text.encode(charset))


def attached(name: bytes, content: bytes = PNG, type: bytes = b"application/octet-stream") -> bytes:
    disposition = b"Content-Disposition: attachment; " + name
    return part(type, encodebytes(content), disposition, b"Content-Transfer-Encoding: base64")


def text_in(label: bytes, raw: bytes, text: str, name: str) -> Case:
    """A body in a charset, under whatever label."""
    return Case(name, mail(b"Content-Type: text/plain" + label, body=raw), {"text": text})


def subject(name: str, raw: bytes, text: str | None) -> Case:
    return Case(name, mail(b"Subject: " + raw), {"subject": text})


def file_named(name: str, parameter: bytes, expected: str) -> Case:
    return Case(name, multi(plain(), attached(parameter)), {"text": "正文"}, ((expected, "image/png"),))


def auto(name: str, kind: Auto | None, *lines: bytes, sender: bytes = b"w@example.com") -> Case:
    return Case(name, mail(*lines, sender=sender), {"auto": kind})


def refused(name: str, raw: bytes) -> Case:
    return Case(name, raw, status=422)


def tnef(*files: tuple[str, bytes], properties: bytes = b"", long_name: str = "", codepage: int = 936) -> bytes:
    """A winmail.dat, with a message's MAPI properties. Source: MS-OXTNEF, section 2.1."""
    found = struct.pack("<LH", 0x223E9F78, 1) + attribute(1, 0x00089006, struct.pack("<L", 0x10000))
    found += attribute(1, 0x00069007, struct.pack("<LL", codepage, 0))
    found += attribute(1, 0x00069003, properties) if properties else b""
    for name, content in files:
        found += attribute(2, 0x00069002, bytes(14))
        found += attribute(2, 0x00018010, name.encode("gbk") + b"\x00")
        found += attribute(2, 0x0006800F, content)
        found += attribute(2, 0x00069005, mapi(wide(0x3707, long_name))) if long_name else b""
    return found


def attribute(level: int, id: int, content: bytes) -> bytes:
    return struct.pack("<BIL", level, id, len(content)) + content + struct.pack("<H", sum(content) & 0xFFFF)


def mapi(*properties: bytes) -> bytes:
    return struct.pack("<L", len(properties)) + b"".join(properties)


def wide(id: int, text: str) -> bytes:
    """A property that holds a text in UTF-16."""
    return _long(0x1F, id, text.encode("utf-16-le") + bytes(2))


def binary(id: int, content: bytes) -> bytes:
    return _long(0x102, id, content)


def number(id: int, value: int) -> bytes:
    return struct.pack("<HHL", 3, id, value)


def _long(kind: int, id: int, content: bytes) -> bytes:
    return struct.pack("<HHLL", kind, id, 1, len(content)) + content + bytes(-len(content) % 4)


def packed(content: bytes, *others: bytes, type: bytes = b"application/ms-tnef") -> bytes:
    """A mail with a winmail.dat after these parts."""
    return multi(*others, attached(b"filename=winmail.dat", content, type))


GB = "镕㐀烤箱坏了".encode("gb18030")
_JIS = "お願いします"
_BIG = "請問有貨嗎"
_NESTED = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(60))
_RFC822 = mail(b"Subject: " + word("原信/一", "utf-8"), body="原文".encode())

CASES = [
    # charsets that say what they are, and those that lie
    text_in(b"; charset=utf-8", "您好".encode(), "您好", "UTF-8"),
    text_in(b"; charset=gb2312", GB, "镕㐀烤箱坏了", "GB18030 that says GB2312"),
    text_in(b"; charset=GBK", "镕基".encode("gbk"), "镕基", "GBK"),
    text_in(b"; charset=big5", _BIG.encode("big5"), _BIG, "Big5"),
    text_in(b"; charset=iso-2022-jp", _JIS.encode("iso-2022-jp"), _JIS, "ISO-2022-JP in seven bits"),
    text_in(b"; charset=shift_jis", _JIS.encode("shift_jis"), _JIS, "Shift_JIS"),
    text_in(b"", "您好".encode(), "您好", "UTF-8 without a label"),
    text_in(b"", GB, "镕㐀烤箱坏了", "GB18030 without a label"),
    text_in(b"; charset=us-ascii", "烤箱坏了".encode("gbk"), "烤箱坏了", "GBK that says ASCII"),
    text_in(b"; charset=utf-8", "烤箱坏了，请处理".encode("gbk"), "烤箱坏了，请处理", "GBK that says UTF-8"),
    text_in(b"; charset=iso-8859-1", "烤箱坏了".encode(), "烤箱坏了", "UTF-8 that says Latin-1"),
    text_in(b"; charset=x-unknown-8", "烤箱".encode("gbk"), "烤箱", "a charset that nobody knows"),
    text_in(b"; charset=base64", "烤箱".encode(), "烤箱", "a charset that is a codec of another kind"),
    text_in(b"; charset=utf-7", b"+ADw-script+AD4-", "+ADw-script+AD4-", "UTF-7 stays as it is"),
    text_in(
        b"; charset=utf-8", b"a\x00b\xed\xa0\x80c", "a\ufffdb\ufffd\ufffd\ufffdc", "NUL and a surrogate in the text"
    ),
    text_in(b"", b"\x01" * 250_000, "\ufffd" * 250_000, "a text of control characters, each six bytes in JSON"),
    text_in(b"; charset=utf-16", "您好".encode("utf-16"), "您好", "UTF-16 with its mark"),
    text_in(b'; charset="', b"hi", "hi", "an unfinished parameter"),
    text_in(b"; charset=utf-16", "烤箱坏了".encode(), "烤箱坏了", "UTF-8 that says UTF-16"),
    text_in(b"; charset=big5", "五十€".encode("cp950"), "五十€", "Big5 with Microsoft's euro"),
    text_in(
        b"; charset=utf-8",
        b"The oven of order 4711 is broken, see " * 3 + "烤箱".encode("gbk"),
        "The oven of order 4711 is broken, see " * 3 + "烤箱",
        "two characters of GBK in a text that says UTF-8",
    ),
    text_in(b"; charset=utf-8", "烤箱坏了".encode()[:-1], "烤箱坏\ufffd", "UTF-8 that was cut in a character"),
    # headers that break off
    Case("a line without a colon", mail(b"broken", b" and more", b"Subject: x"), {"subject": "x", "text": "hello"}),
    Case("a blank before the colon", mail(b"Subject : x"), {"subject": "x", "text": "hello"}),
    Case("a NUL in a header's name", mail(b"Sub\x00ject: x"), {"subject": "x", "text": "hello"}),
    Case("a Chinese header's name", mail("主题: y".encode(), b"Subject: x"), {"subject": "x", "text": "hello"}),
    Case("a mark of UTF-8 before it all", b"\xef\xbb\xbf" + mail(b"Subject: x"), {"subject": "x", "text": "hello"}),
    Case(
        "a text without an empty line before it",
        b"From: w@example.com\r\nhello there\r\n\r\nall of you",
        {"sender": "w@example.com", "text": "hello there\n\nall of you"},
    ),
    # subjects
    subject("a subject in GBK", word("烤箱报修", "gbk"), "烤箱报修"),
    subject("a subject in Q encoding", word("烤箱 报修", "utf-8", "Q"), "烤箱 报修"),
    subject(
        "words that split a character", b"=?utf-8?B?54Ok?= =?utf-8?B?566x5Q==?=\r\n =?utf-8?B?nY/kuoY=?=", "烤箱坏了"
    ),
    subject("words without a space between", word("烤", "gb2312") + word("箱", "gb2312"), "烤箱"),
    subject("words of two charsets", word("烤", "gb2312") + b" " + word("箱", "utf-8"), "烤箱"),
    subject("a raw subject in GBK", "烤箱报修".encode("gbk"), "烤箱报修"),
    subject("a raw subject in UTF-8", "烤箱报修".encode(), "烤箱报修"),
    subject("a word that is broken", b"=?utf-8?B?54Ok566x5Z2P5LqG?", "=?utf-8?B?54Ok566x5Z2P5LqG?"),
    subject("a word with rubbish in it", b"=?utf-8?B?54Ok!!566x===?=", "烤箱"),
    subject("a word in an unknown charset", b"=?x-none?B?" + b64encode("烤箱".encode("gbk")) + b"?=", "烤箱"),
    subject("controls in a subject", b"a\x07b\x00c\td", "a b c d"),
    subject("a folded subject", b"a\r\n b\r\n\tc", "a b c"),
    subject("a subject of blanks", b"   ", None),
    Case("two subjects", mail(b"Subject: one", b"Subject: two"), {"subject": "one"}),
    # who wrote
    Case(
        "a name in a word with a comma",
        mail(sender=word("王,芳", "utf-8") + b" <w@example.com>"),
        {"sender": "w@example.com"},
    ),
    Case("a raw name in GBK", mail(sender="王芳".encode("gbk") + b" <w@example.com>"), {"sender": "w@example.com"}),
    Case(
        "an address without brackets in a text",
        mail(sender=b"(me) call w@example.com now"),
        {"sender": "w@example.com"},
    ),
    Case("nobody", mail(sender=b"undisclosed"), {"sender": None}),
    Case("comments without end", mail(sender=b"(" * 5000 + b"w@example.com"), {}),
    Case("a web form's writer", mail(b"Reply-To: c@example.com"), {"reply_to": "c@example.com"}),
    # parts
    Case(
        "only HTML",
        mail(b"Content-Type: text/html", body="<p>您好<br>再见<script>x()</script></p>".encode()),
        {"text": "您好\n再见"},
    ),
    Case(
        "text and HTML",
        multi(plain("文"), part(b"text/html; charset=utf-8", "<b>文</b>".encode()), kind=b"alternative"),
        {"text": "文", "html": "<b>文</b>"},
    ),
    Case(
        "an empty text beside HTML", multi(plain("  "), part(b"text/html", b"<p>x"), kind=b"alternative"), {"text": "x"}
    ),
    Case("two texts", multi(plain("一"), plain("二")), {"text": "一\n\n二"}),
    Case(
        "a text that is attached",
        multi(
            plain(),
            part(b"text/plain; charset=gbk", "附".encode("gbk"), b"Content-Disposition: attachment; filename=a.txt"),
        ),
        {"text": "正文"},
        (("a.txt", "text/plain"),),
    ),
    Case(
        "an inline image",
        multi(
            part(b"text/html", b'<img src="cid:i@x">'),
            part(b"image/png", encodebytes(PNG), b"Content-ID: <i@x>", b"Content-Transfer-Encoding: base64"),
            kind=b"related",
        ),
        {},
        (("attachment-1.png", "image/png"),),
    ),
    Case(
        "a mail in the mail",
        multi(plain(), part(b"message/rfc822", _RFC822)),
        {"text": "正文"},
        (("原信_一.eml", "message/rfc822"),),
    ),
    Case(
        "parts in parts",
        multi(
            b'Content-Type: multipart/alternative; boundary="c"\r\n\r\n--c\r\n' + plain("内") + b"\r\n--c--\r\n",
            attached(b"filename=a.png"),
        ),
        {"text": "内"},
        (("a.png", "image/png"),),
    ),
    Case("no last boundary", multi(plain("开"))[: -len(b"--b--\r\n")], {"text": "开"}),
    Case(
        "no boundary at all",
        mail(b"Content-Type: multipart/mixed", body="散".encode()),
        {"text": "散"},
    ),
    Case("a boundary that never comes", mail(b"Content-Type: multipart/mixed; boundary=zz", body=b"x"), {}),
    Case(
        "an invitation",
        multi(plain(), part(b"text/calendar; method=REQUEST", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR")),
        {},
        (("attachment-1.ics", "text/calendar"),),
    ),
    Case(
        "winmail.dat",
        multi(plain(), attached(b"filename=winmail.dat", tnef(("a.png", PNG), ("b.zip", ZIP)), b"application/ms-tnef")),
        {"text": "正文"},
        (("a.png", "image/png"), ("b.zip", "application/zip")),
    ),
    Case(
        "a winmail.dat that is broken",
        multi(plain(), attached(b"filename=winmail.dat", tnef(("a.png", PNG))[:-20], b"application/ms-tnef")),
        {},
        (("winmail.dat", "application/octet-stream"),),
    ),
    Case(
        "a winmail.dat that is none",
        multi(plain(), attached(b"filename=winmail.dat", PNG, b"application/ms-tnef")),
        {},
        (("winmail.dat", "image/png"),),
    ),
    Case(
        "base64 with rubbish", mail(b"Content-Transfer-Encoding: base64", body=b"5oKo\r\n!!5aW9=\r\n"), {"text": "您好"}
    ),
    Case(
        "quoted-printable that is broken",
        mail(b"Content-Transfer-Encoding: quoted-printable", body=b"=E6=82=A8=E5=A5=BD=ZZ="),
        {"text": "您好=ZZ"},
    ),
    Case("an encoding that nobody knows", mail(b"Content-Transfer-Encoding: x-zip", body=b"plain"), {"text": "plain"}),
    Case(
        "uuencode",
        mail(b"Content-Transfer-Encoding: x-uuencode", body=b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n"),
        {"text": "abc"},
    ),
    Case(
        "a mail in the mail, in base64, which it may not be",
        multi(
            plain(),
            part(
                b"message/rfc822; name=a.eml",
                encodebytes(b"Subject: x\r\n\r\nhi"),
                b"Content-Transfer-Encoding: base64",
            ),
        ),
        {"text": "正文"},
        (("a.eml", "message/rfc822"),),
    ),
    Case("a text with a name", mail(b'Content-Type: text/html; name="m.html"', body=b"<p>x"), {"text": "x"}),
    Case(
        "winmail.dat by its name alone",
        packed(tnef(("a.png", PNG)), plain(), type=b"application/octet-stream"),
        {"text": "正文"},
        (("a.png", "image/png"),),
    ),
    Case(
        "winmail.dat with long and Chinese names",
        packed(tnef(("FAPIAO~1.PNG", PNG), long_name="发票㐀.png"), plain()),
        {"text": "正文"},
        (("发票㐀.png", "image/png"),),
    ),
    Case("winmail.dat with a name in GBK", packed(tnef(("发票.png", PNG))), {}, (("发票.png", "image/png"),)),
    Case(
        "winmail.dat that holds the text",
        packed(tnef(properties=mapi(wide(0x1000, "烤箱坏了\r\n")))),
        {"text": "烤箱坏了\n"},
    ),
    Case(
        "winmail.dat that holds HTML",
        packed(tnef(properties=mapi(number(0x3FDE, 65001), binary(0x1013, "<p>烤箱".encode())))),
        {"text": "烤箱", "html": "<p>烤箱"},
    ),
    Case(
        "winmail.dat whose text is only RTF",
        packed(tnef(("a.png", PNG), properties=mapi(binary(0x1009, b"LZFu")))),
        {"text": None},
        (("a.png", "image/png"), ("winmail.dat", "application/octet-stream")),
    ),
    Case(
        "winmail.dat that promises four billion properties",
        packed(tnef(properties=b"\xff\xff\xff\xff"), plain()),
        {"text": "正文"},
        (("winmail.dat", "application/octet-stream"),),
    ),
    Case(
        "winmail.dat that promises four billion values",
        packed(tnef(properties=struct.pack("<LHHL", 1, 0x1002, 0x3000, 0xFFFFFFFF)), plain()),
        {"text": "正文"},
        (("winmail.dat", "application/octet-stream"),),
    ),
    Case("an empty body", mail(body=b""), {"text": None}),
    Case("no body", b"From: w@example.com", {"text": None}),
    Case("bare line feeds", mail(b"Subject: x", body=b"a\nb").replace(CRLF, b"\n"), {"subject": "x", "text": "a\nb"}),
    Case("bare carriage returns", b"From: w@example.com\rSubject: x\r\ra\rb", {"subject": "x"}),
    # names of files
    file_named("a name in a word", b'filename="' + word("发票㐀.png", "gb18030") + b'"', "发票㐀.png"),
    file_named("a raw name in GBK", b'filename="' + "发票.png".encode("gbk") + b'"', "发票.png"),
    file_named("a name by RFC 2231", b"filename*=gb18030''%B7%A2%C6%B1.png", "发票.png"),
    file_named("a name in pieces", b"filename*0*=utf-8''%E5%8F%91; filename*1*=%E7%A5%A8.png", "发票.png"),
    file_named(
        "a name in pieces and as a whole", b"filename*0*=utf-8''a.png; filename*=utf-8''b.png", "attachment-1.png"
    ),
    file_named("a way to another folder", b'filename="../../etc/passwd.png"', "passwd.png"),
    file_named("a way of Windows", b'filename="C:\\\\x\\\\y.png"', "y.png"),
    file_named("controls in a name", b'filename="a\x07b.png"', "a b.png"),
    file_named("a name of dots", b'filename=".."', "attachment-1.png"),
    file_named("a name of 500 characters", b'filename="' + b"x" * 500 + b'.png"', "x" * 196 + ".png"),
    Case(
        "a type that lies",
        multi(plain(), attached(b"filename=a.pdf", PNG, b"application/pdf")),
        {},
        (("a.pdf", "image/png"),),
    ),
    Case(
        "HTML that says it is a picture",
        multi(plain(), attached(b"filename=a.png", b"<html><script>x", b"image/png")),
        {},
        (("a.png", "text/html"),),
    ),
    # what no person wrote
    auto("out of office", Auto.REPLY, b"Auto-Submitted: auto-replied (vacation)"),
    auto("QQ's own words", Auto.REPLY, b"Subject: " + word("自动回复:您好", "gbk")),
    auto("an old vacation program", Auto.REPLY, b"Precedence: bulk", b"X-Autoreply: yes"),
    auto("a null sender", Auto.BOUNCE, b"Return-Path: <>"),
    auto("an auto-reply with a null sender", Auto.REPLY, b"Return-Path: <>", b"Auto-Submitted: auto-replied"),
    auto("a daemon", Auto.BOUNCE, b"Subject: failed", sender=b"MAILER-DAEMON@mx.example"),
    auto("a report", Auto.BOUNCE, b"Content-Type: multipart/report; report-type=delivery-status; boundary=b"),
    auto("a newsletter", Auto.BULK, b"List-Id: <news.example>"),
    auto("bulk", Auto.BULK, b"Precedence: bulk"),
    auto("a machine's notice", Auto.GENERATED, b"Auto-Submitted: auto-generated"),
    auto("a notice of an unknown kind", Auto.GENERATED, b"Auto-Submitted: yes"),
    auto("our own mail by another name", Auto.LOOP, b"X-Kefu-Loop: yes"),
    auto("163's own words alone", Auto.REPLY, b"Subject: " + word("自动答复", "gbk")),
    auto("Outlook's own words", Auto.REPLY, b"Subject: Out of Office AutoReply: your order"),
    auto("a customer whose auto-reply is broken", None, b"Subject: " + word("自动回复不工作了", "utf-8")),
    auto("a customer who wants chairs", None, b"Subject: Out of office chairs"),
    auto("our own mail", Auto.LOOP, b"Kefu-Loop: yes"),
    auto("a circle", Auto.LOOP, *[b"Received: from a by b; Wed, 25 Nov 2026 10:00:00 +0800"] * 51),
    auto("a person, and says so", None, b"Auto-Submitted: no"),
    auto("a person who forbids auto-replies", None, b"X-Auto-Response-Suppress: All"),
    auto("a question about auto-replies", None, b"Subject: " + word("如何设置自动回复", "utf-8")),
    # threads
    Case(
        "references",
        mail(b"References: <a@x> <b@x>\r\n <c@x>", b"In-Reply-To: <c@x>"),
        {"references": ("a@x", "b@x", "c@x"), "in_reply_to": "c@x"},
    ),
    Case("references without brackets", mail(b"References: a@x, b@x"), {"references": ("a@x", "b@x")}),
    Case(
        "a thousand references",
        mail(b"References: " + b" ".join(b"<%d@x>" % n for n in range(1000))),
        {"message_id": "m@example.com"},
    ),
    Case("an id that is none", mail(b"In-Reply-To: your letter of Monday"), {"in_reply_to": None}),
    Case(
        "an address of ours behind a hundred others",
        mail(b"To: " + b", ".join(b"a%d@b.example" % n for n in range(120)), b"Delivered-To: us@shop.example"),
        {"to": (Address(None, "us@shop.example"), *[Address(None, f"a{n}@b.example") for n in range(99)])},
    ),
    # dates
    Case("a date that is none", mail(b"Date: yesterday"), {"happened_at": None}),
    Case("a date of the year 9999999", mail(b"Date: Mon, 1 Jan 9999999 00:00:00 +0000"), {"happened_at": None}),
    # what is no mail, or made to exhaust us
    refused("nothing", b""),
    refused("no header", b"hello\r\n\r\nworld"),
    refused("JSON", b'{"from": "w@example.com"}'),
    refused("bytes", bytes(range(256)) * 10),
    refused("a header without end", b"From: w@example.com\r\n" + b"X: y\r\n" * 60_000),
    refused("boundaries without end", multi(plain()) + b"--b\r\n\r\n" * 10_001),
    refused("a thousand and one parts", multi(*[b"\r\nx"] * 1001)),
    refused("sixty parts in each other", b"From: a@b\r\n" + _NESTED),
    refused("a thousand parts in each other", b"From: a@b\r\n" + _NESTED * 20),
    refused("300 mails in each other", b"From: a@b\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 300),
    refused("a million lines", mail(body=b"\n" * 1_000_001)),
]
