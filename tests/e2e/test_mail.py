"""E-mail as it really is, from the mail server to the agent and back (B-01, K-02)."""

import asyncio
import smtplib
import time
from base64 import b64encode
from collections.abc import Callable
from email.utils import formatdate

import httpx

from tests.e2e.kefu import Json, Kefu, an_id, until

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 40


def a_mail(
    *headers: str,
    sender: str,
    text: str = "烤箱坏了，请处理。",
    subject: str = "烤箱报修",
    file: bytes | None = PDF,
    age_s: int = 0,
) -> bytes:
    """A mail as a Chinese program of 2003 writes it: GBK throughout, the attachment's name in GB18030 and unquoted.

    It was written `age_s` ago: its time has whole seconds, and those of one second have no order.
    """
    encoded = b64encode(subject.encode("gbk")).decode()
    head = [
        f"From: =?GB2312?B?{b64encode('王芳'.encode('gbk')).decode()}?= <{sender}>",
        "To: service@shop.example",
        f"Subject: =?GB2312?B?{encoded}?=",
        f"Date: {formatdate(time.time() - age_s)}",
        *headers,
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="=_b"',
    ]
    parts = [
        b"Content-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text.encode("gbk")
    ]
    if file is not None:
        name = b64encode("发票㐀.pdf".encode("gb18030")).decode()
        described = f'Content-Type: application/octet-stream; name="=?gb18030?B?{name}?="\r\n'
        described += "Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        parts.append(described.encode() + b64encode(file))
    body = b"".join(b"--=_b\r\n" + part + b"\r\n" for part in parts) + b"--=_b--\r\n"
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def post_mail(kefu: Kefu, raw: bytes, site: str = "shop") -> Json:
    headers = {"Authorization": f"Bearer {kefu.adapter}", "Content-Type": "message/rfc822"}
    answer = await kefu.http.post(f"{kefu.urls['intake']}/v1/emails/raw?site={site}", content=raw, headers=headers)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def messages_of(kefu: Kefu, ticket: Json, holds: Callable[[list[Json]], bool]) -> list[Json]:
    async def probe() -> list[Json] | None:
        found = (await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages"))["items"]
        return found if holds(found) else None

    return await until("the conversation", probe)


async def answered(kefu: Kefu, ticket: Json, sender: str, text: str) -> str:
    """The agent answers; the subject under which the contact gets it."""
    await kefu.command(ticket, "reply", {"text": text}, "a01")

    async def probe() -> str | None:
        params = {"channel": "email", "to": sender}
        items = (await kefu.http.get(f"{kefu.stack['sink']}/messages", params=params)).json()["items"]
        return next((m["subject"] for m in items if text in m["text"]), None)

    return await until("the answer", probe)


async def finish(kefu: Kefu, interaction: str) -> None:
    """The agent takes a ticket that nobody wants, and ends it: later stories begin with empty queues."""
    ticket = await kefu.ticket_in(interaction, "offered")
    await kefu.accept(await kefu.offer_of(ticket))
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")


async def test_a_mail_in_gbk_is_readable_its_file_opens_and_its_thread_is_one_ticket(kefu: Kefu) -> None:
    await kefu.sign_in("a01")
    sender, first = f"{an_id('c')}@example.com", f"{an_id('m')}@example.com"
    raw = a_mail(f"Message-ID: <{first}>", sender=sender, age_s=40)

    accepted = await post_mail(kefu, raw)
    assert await post_mail(kefu, b"Received: from elsewhere; Wed, 25 Nov 2026 10:00:00 +0800\r\n" + raw) == accepted
    ticket = await kefu.ticket_in(accepted["interaction"], "offered")
    assert ticket["subject"] == "烤箱报修"
    [message] = await messages_of(kefu, ticket, lambda found: len(found) == 1)
    assert message["text"] == "烤箱坏了，请处理。"
    [file] = message["attachments"]
    assert (file["name"], file["type"], file["size"]) == ("发票㐀.pdf", "application/pdf", len(PDF))
    contact = await kefu.call("routing", "GET", f"/v1/contacts/{ticket['contact']}")
    assert (contact["name"], contact["email"]) == ("王芳", sender)

    opened = await kefu.http.get(file["url"], headers={"Authorization": f"Bearer {kefu.admin}"})
    assert (opened.status_code, opened.content) == (200, PDF)
    assert "attachment" in opened.headers["content-disposition"]
    assert opened.headers["x-content-type-options"] == "nosniff"
    assert (await kefu.http.get(file["url"])).status_code == 401
    stranger = {"Authorization": f"Bearer {kefu.adapter}"}
    assert (await kefu.http.get(file["url"], headers=stranger)).status_code == 403

    # the agent's answer carries the tag; the contact's answers come back to the ticket in three ways
    await kefu.accept(await kefu.offer_of(ticket))
    subject = await answered(kefu, ticket, sender, "已安排上门维修。")
    assert subject.startswith("Re: 烤箱报修 [#")
    reference = f"References: <{first}> <ours@kefu.example>"
    thanks = a_mail(reference, sender=sender, text="谢谢", subject="Re: 烤箱报修", file=None, age_s=30)
    home = f"{an_id('c')}@home.example"
    from_home = a_mail(sender=home, text="换个邮箱回复", subject=subject, file=None, age_s=20)
    robot = "Auto-Submitted: auto-replied"
    vacation = a_mail(robot, sender=sender, text="我在休假", subject=subject, file=None, age_s=10)
    for reply in (thanks, from_home, vacation):
        await post_mail(kefu, reply)
    forged = subject[:-3] + ("a" if subject[-3] != "a" else "b") + subject[-2:]
    stray = await post_mail(kefu, a_mail(sender=f"{an_id('c')}@evil.example", text="冒充", subject=forged, file=None))

    found = await messages_of(kefu, ticket, lambda found: len(found) == 5)
    assert [m["text"] for m in found if m["from"] == "contact"] == [
        "烤箱坏了，请处理。",
        "谢谢",
        "换个邮箱回复",
        "我在休假",
    ]
    assert [m["auto"] for m in found if m["from"] == "contact"] == [None, None, None, "reply"]
    other = await kefu.ticket_of(stray["interaction"])
    assert other["id"] != ticket["id"]
    # and the answer still goes to who wrote first
    assert await answered(kefu, ticket, sender, "维修员明天到。") == subject
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")
    await finish(kefu, stray["interaction"])


async def test_who_left_a_message_is_answered_by_mail_and_may_write_back(kefu: Kefu) -> None:
    await kefu.sign_in("a01")
    interaction, email = an_id("msg"), f"{an_id('c')}@example.com"
    await kefu.post("/v1/messages", "message.left", interaction, contact={"email": email}, data={"text": "请回复"})
    ticket = await kefu.ticket_in(interaction, "offered")
    await kefu.accept(await kefu.offer_of(ticket))
    subject = await answered(kefu, ticket, email, "请问订单号？")
    await post_mail(kefu, a_mail(sender=email, text="订单1234", subject=subject, file=None))
    found = await messages_of(kefu, ticket, lambda found: len(found) == 3)
    # a mail's own time has no fractions of a second: it may stand before what it answers
    assert {(m["from"], m["text"]) for m in found} == {
        *(("contact", "请回复"), ("agent", "请问订单号？"), ("contact", "订单1234")),
    }
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")


async def test_nothing_answers_a_bounce(kefu: Kefu) -> None:
    await kefu.sign_in("a01")
    report = (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nSubject: failure\r\nMessage-ID: <%s@mx.example>\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        b"--b\r\n\r\nnot delivered\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n--b--\r\n"
    ) % an_id("bounce").encode()
    accepted = await post_mail(kefu, report)
    ticket = await kefu.ticket_in(accepted["interaction"], "offered")
    [message] = await messages_of(kefu, ticket, bool)
    assert (message["auto"], message["text"].strip()) == ("bounce", "not delivered")
    await kefu.accept(await kefu.offer_of(ticket))
    refused = await kefu.command(ticket, "reply", {"text": "您好"}, "a01", expect=409)
    assert "no person wrote it" in refused["detail"]
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")


def _deliver(kefu: Kefu, client: type[smtplib.SMTP], raw: bytes, *recipients: str) -> tuple[list[int], list[int]]:
    """How each recipient was answered, and then the mail: by LMTP once for each recipient that was taken."""
    host, _, port = kefu.stack["lmtp"].rpartition(":")
    with client(host, int(port)) as server:
        server.ehlo_or_helo_if_needed()
        server.mail("w@example.com")
        named = [server.rcpt(recipient)[0] for recipient in recipients]
        if 250 not in named:
            return named, []
        taken = [server.data(raw)[0]]
        if client is smtplib.LMTP:
            taken += [server.getreply()[0] for _ in range(named.count(250) - 1)]
    return named, taken


async def test_a_mail_server_delivers_straight_in(kefu: Kefu) -> None:
    sender = f"{an_id('c')}@example.com"
    to = ("Service@shop.example", "service+vip@SHOP.example", "nobody@shop.example")
    for client, taken, age_s in ((smtplib.LMTP, [250, 250], 20), (smtplib.SMTP, [250], 10)):
        text = f"由{client.__name__}送达"
        raw = a_mail(f"Message-ID: <{an_id('m')}@example.com>", sender=sender, text=text, age_s=age_s)
        assert await asyncio.to_thread(_deliver, kefu, client, raw, *to) == ([250, 250, 550], taken)
    assert await asyncio.to_thread(_deliver, kefu, smtplib.SMTP, raw, "a@b") == ([550], [])
    broken = b"From: a\r\n" + b"\r\n".join(b"--x" for _ in range(10_002))
    assert await asyncio.to_thread(_deliver, kefu, smtplib.LMTP, broken, to[0], to[1]) == ([250, 250], [554, 554])

    async def both() -> Json | None:
        items = (await kefu.call("routing", "GET", "/v1/tickets?limit=5"))["items"]
        for ticket in items:
            found = (await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages"))["items"]
            if [m["text"] for m in found] == ["由LMTP送达", "由SMTP送达"]:
                return dict(ticket)
        return None

    ticket = await until("one ticket with both mails, each once", both)
    assert (ticket["site"], ticket["channel"]) == ("shop", "email")
    await kefu.sign_in("a01")
    await finish(kefu, ticket["interaction"])


async def test_a_visitor_who_returns_is_shown_with_all_visits(kefu: Kefu) -> None:
    # H-06
    visitor = an_id("visitor")
    contact = {"external_id": visitor, "phone": "138 0013 8000"}
    for page in ("home", "oven", "cart"):
        await kefu.post(
            "/v1/visits", "visit.seen", an_id("visit"), contact=contact, data={"page": page, "referrer": "r"}
        )
    await kefu.post("/v1/visits", "visit.seen", an_id("visit"), data={"page": "anonymous"})
    interaction = an_id("chat")
    await kefu.post("/v1/chats", "chat.started", interaction, contact={"external_id": f" {visitor} "})
    ticket = await kefu.ticket_of(interaction)

    async def all_seen() -> Json | None:
        found = await kefu.call("routing", "GET", f"/v1/contacts/{ticket['contact']}")
        return found if found["visits"] == 3 else None

    found = await until("three visits", all_seen)
    assert (found["external_id"], found["phone"]) == (visitor, "+8613800138000")
    assert found["last_visit_at"] is not None
    visits = await kefu.call("routing", "GET", f"/v1/contacts/{ticket['contact']}/visits?limit=2")
    assert len(visits["items"]) == 2
    rest = await kefu.call("routing", "GET", f"/v1/contacts/{ticket['contact']}/visits?cursor={visits['next']}")
    pages = {v["page"] for v in visits["items"] + rest["items"]}
    assert pages == {"home", "oven", "cart"}
    await kefu.post("/v1/chats", "chat.ended", interaction)
    await kefu.ticket_in(interaction, "abandoned")


async def test_a_file_of_a_chat_is_uploaded_first_and_opens_from_the_conversation(kefu: Kefu) -> None:
    # H-04
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    headers = {"Authorization": f"Bearer {kefu.adapter}", "Content-Type": "text/html"}
    stored = await kefu.http.post(f"{kefu.urls['intake']}/v1/attachments?name=x.html", content=png, headers=headers)
    assert (stored.status_code, stored.json()["type"]) == (201, "image/png")
    interaction = an_id("chat")
    await kefu.post("/v1/chats", "chat.started", interaction)
    data = {"text": "看图", "attachments": [{"ref": stored.json()["ref"], "name": "照片.png"}]}
    await kefu.post("/v1/chats", "chat.message", interaction, data=data)
    ticket = await kefu.ticket_of(interaction)
    [message] = await messages_of(kefu, ticket, bool)
    [file] = message["attachments"]
    assert (file["name"], file["type"]) == ("照片.png", "image/png")
    async with httpx.AsyncClient() as client:
        opened = await client.get(file["url"], headers={"Authorization": f"Bearer {kefu.admin}"})
    assert opened.content == png
    await kefu.post("/v1/chats", "chat.ended", interaction)
    await kefu.ticket_in(interaction, "abandoned")
