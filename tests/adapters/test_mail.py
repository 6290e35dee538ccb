"""The mail gateway against a real IMAP server, and as one that a mail server delivers to."""

import asyncio
import json
import smtplib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from imapclient import IMAPClient

from kefu_adapters.delivered import Delivery
from kefu_adapters.mailbox import REFUSED, Mailbox, PlaceFile, forward
from kefu_client import Kefu
from tests import tools
from tests.client.adapters import QUICK
from tests.intake.mail_corpus import mail
from tests.intake.running import Intake, free_port, until

SENDER = "w@example.com"


@pytest.fixture(scope="module")
async def mail_ports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[int, int]]:
    """A mail server's SMTP and IMAP ports; every address has a mailbox, opened by `login/password`."""
    java, jar = await tools.java(), await tools.jar("greenmail-standalone")
    smtp, imap = free_port(), free_port()
    options = [f"-Dgreenmail.smtp.port={smtp}", f"-Dgreenmail.imap.port={imap}", "-Dgreenmail.api.port=0"]
    options += ["-Dgreenmail.hostname=127.0.0.1", "-Dgreenmail.smtp.hostname=127.0.0.1"]
    options += ["-Dgreenmail.imap.hostname=127.0.0.1", "-Dgreenmail.users=service:geheim@shop.example"]
    log = tmp_path_factory.mktemp("greenmail") / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            java, "-Xmx64m", *options, "-jar", jar, stdout=output, stderr=output
        )

    async def answers() -> bool:
        try:
            await asyncio.to_thread(_unread, imap)
        except OSError:
            return False
        return True

    try:
        await until(answers, 30)
        yield smtp, imap
    finally:
        process.terminate()
        await process.wait()


def _unread(port: int) -> list[int]:
    with IMAPClient("127.0.0.1", port, ssl=False, timeout=10) as client:
        client.login("service", "geheim")
        client.select_folder("INBOX", readonly=True)
        found: list[int] = client.search(["UNSEEN", "UNKEYWORD", REFUSED.decode()])
        return found


def _flags(port: int) -> list[set[bytes]]:
    with IMAPClient("127.0.0.1", port, ssl=False, timeout=10) as client:
        client.login("service", "geheim")
        client.select_folder("INBOX", readonly=True)
        uids = client.search("ALL")
        return [set(found) - {b"\\Recent"} for _, found in sorted(client.get_flags(uids).items())]


def _send(port: int, *mails: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port) as server:
        for raw in mails:
            server.sendmail(SENDER, ["service@shop.example"], raw)


@asynccontextmanager
async def forwarding(intake_url: str, imap: int, folder: Path) -> AsyncIterator[None]:
    mailbox = Mailbox("127.0.0.1", imap, "service", "geheim", "shop", tls=False)
    async with Kefu(intake_url, intake_url, "secret", patience=QUICK) as kefu:
        task = asyncio.create_task(forward(kefu, mailbox, PlaceFile(folder / "place.json")))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def a_mail(subject: str) -> bytes:
    return mail(f"Subject: {subject}".encode(), b"In-Reply-To: <gateway@x>", b"Date: Wed, 25 Nov 2026 10:00:00 +0800")


async def _subjects(intake: Intake) -> list[str]:
    """Of the mails of this module, each once, as they lie on the topic."""
    found: list[str] = []
    for record in await intake.records():
        data = json.loads(record.value or b"{}")["data"]
        if data.get("references") == ["gateway@x"]:
            found.append(data["subject"])
    return list(dict.fromkeys(found))


async def test_each_mail_of_a_mailbox_comes_to_kefu_once_also_over_a_restart(
    intake: Intake, mail_ports: tuple[int, int], tmp_path: Path
) -> None:
    smtp, imap = mail_ports
    url = str(intake.client.base_url)
    await asyncio.to_thread(_send, smtp, a_mail("第一封".encode().hex()), a_mail("two"))

    def are_read(count: int) -> Callable[[], Awaitable[bool]]:
        async def probe() -> bool:
            flags = await asyncio.to_thread(_flags, imap)
            return len(flags) == count and all(b"\\Seen" in each or REFUSED in each for each in flags)

        return probe

    async with forwarding(url, imap, tmp_path):
        await until(are_read(2), 20)
        await asyncio.to_thread(_send, smtp, a_mail("three"))
        await until(are_read(3), 40)
    # what came while nobody was there, one of which nobody can read, comes after the restart
    bomb = a_mail("bomb") + b"\r\n--b" * 10_002
    await asyncio.to_thread(_send, smtp, bomb, a_mail("four"))
    async with forwarding(url, imap, tmp_path):
        await until(are_read(5), 20)
    assert [REFUSED in each for each in await asyncio.to_thread(_flags, imap)] == [False, False, False, True, False]
    assert await _subjects(intake) == ["第一封".encode().hex(), "two", "three", "four"]


async def test_while_kefu_is_away_no_mail_is_marked(mail_ports: tuple[int, int], tmp_path: Path) -> None:
    smtp, imap = mail_ports
    await asyncio.to_thread(_send, smtp, a_mail("waits"))
    before = await asyncio.to_thread(_unread, imap)
    port = free_port()
    tried = asyncio.Event()

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tried.set()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    async with server, forwarding(f"http://127.0.0.1:{port}", imap, tmp_path), asyncio.timeout(20):
        await tried.wait()
    assert await asyncio.to_thread(_unread, imap) == before


async def test_a_mail_server_is_told_what_kefu_said(intake: Intake) -> None:
    port = free_port()

    def deliver(raw: bytes) -> list[int]:
        with smtplib.LMTP("127.0.0.1", port) as server:
            server.ehlo_or_helo_if_needed()
            server.mail(SENDER)
            for recipient in ("a@shop.example", "b@shop.example"):
                server.rcpt(recipient)
            return [server.data(raw)[0], server.getreply()[0]]

    async def delivered(key: str, url: str, raw: bytes) -> list[int]:
        async with Kefu(url, url, key, patience=QUICK) as kefu:
            loop = asyncio.get_running_loop()
            async with await loop.create_server(lambda: Delivery(kefu, "shop"), "127.0.0.1", port):
                return await asyncio.to_thread(deliver, raw)

    url = str(intake.client.base_url)
    assert await delivered("secret", url, a_mail("delivered")) == [250, 250]
    assert await delivered("secret", url, b"From: a\r\n" + b"--b\r\n" * 10_002) == [554, 554]
    assert await delivered("unknown", url, a_mail("x")) == [451, 451]
    assert "delivered" in await _subjects(intake)
