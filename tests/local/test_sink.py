import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from kefu_local.probes import http_ready
from kefu_local.supervised import ChildSpec
from kefu_local.supervisor import Supervisor
from tests.processes import free_ports


@dataclass
class Sink:
    supervisor: Supervisor
    http: httpx.AsyncClient
    smtp_port: int

    async def send(self, text: str, to: str = "w@example.com", subject: str = "您好") -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = "kefu@kefu.example", to, subject, "<1@kefu>"
        mail.set_content(text)
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=self.smtp_port)

    async def messages(self, **query: str) -> list[dict[str, str]]:
        items: list[dict[str, str]] = (await self.http.get("/messages", params=query)).json()["items"]
        return items

    async def behave(self, **behaviour: dict[str, object]) -> None:
        (await self.http.put("/behaviour", json=behaviour)).raise_for_status()

    async def sms(self, text: str, key: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post("/sms", json={"id": "m1", "to": "+8613800138000", "text": text}, headers=headers)


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    port, smtp_port = free_ports(2)
    options = ("--port", str(port), "--smtp-port", str(smtp_port), "--data", str(tmp_path / "messages.jsonl"))
    supervisor = Supervisor()
    argv = (sys.executable, "-m", "kefu_local", "sink", *options)
    await supervisor.start(ChildSpec("sink", argv, tmp_path / "sink.log", http_ready(port)))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        try:
            await supervisor.wait_ready("sink", within_s=30)
            yield Sink(supervisor, http, smtp_port)
        finally:
            await supervisor.stop()


async def test_mail_and_sms_are_kept_across_a_kill(sink: Sink) -> None:
    await sink.send("您的工单已受理。\n")
    assert (await sink.sms("【小店】您好")).status_code == 200

    await sink.supervisor.kill("sink")
    await sink.supervisor.wait_ready("sink", within_s=30)

    mail, sms = await sink.messages()
    assert (mail["channel"], mail["to"], mail["from"], mail["subject"], mail["text"].strip()) == (
        "email",
        "w@example.com",
        "kefu@kefu.example",
        "您好",
        "您的工单已受理。",
    )
    assert (sms["channel"], sms["to"], sms["text"]) == ("sms", "+8613800138000", "【小店】您好")
    assert [each["channel"] for each in await sink.messages(channel="sms")] == ["sms"]
    assert await sink.messages(to="nobody@example.com") == []
    assert (await sink.http.delete("/messages")).status_code == 204
    assert await sink.messages() == []


async def test_the_same_key_is_one_sms(sink: Sink) -> None:
    first, again = await sink.sms("x", "k1"), await sink.sms("x", "k1")
    assert first.json() == again.json()
    assert len(await sink.messages()) == 1
    await sink.behave(sms={"honour_idempotency": False})
    await sink.sms("x", "k1")
    assert len(await sink.messages()) == 2


async def test_it_fails_when_told_to(sink: Sink) -> None:
    await sink.behave(sms={"fail_ratio": 1}, email={"fail_ratio": 1})
    assert (await sink.sms("x")).status_code == 500
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        await sink.send("x")
    assert caught.value.code == 451
    assert await sink.messages() == []


async def test_it_accepts_and_cuts_the_connection_when_told_to(sink: Sink) -> None:
    await sink.behave(sms={"drop_after_accept_ratio": 1}, email={"drop_after_accept_ratio": 1})
    with pytest.raises(httpx.TransportError):
        await sink.sms("x", "k1")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await sink.send("x")
    assert [each["channel"] for each in await sink.messages()] == ["sms", "email"]


async def test_unknown_behaviour_is_refused(sink: Sink) -> None:
    assert (await sink.http.put("/behaviour", json={"sms": {"fail_ratio": 2}})).status_code == 422
    assert (await sink.http.put("/behaviour", json={"fax": {}})).status_code == 422


async def test_the_page_escapes_what_strangers_wrote(sink: Sink) -> None:
    await sink.send("<script>alert(1)</script>", subject="<b>")
    page = (await sink.http.get("/")).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
