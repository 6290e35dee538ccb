"""E-mail over SMTP, with connections that are used again."""

import re
import time
from email.message import EmailMessage
from email.policy import SMTP as FOR_SMTP
from email.policy import SMTPUTF8 as FOR_SMTP_UTF8
from email.utils import formatdate, parseaddr

import aiosmtplib
from aiosmtplib import SMTP

from kefu_notifications.domain.sending import LONGEST_S, Outcome, Result, smtp_result
from kefu_notifications.domain.texts import one_line
from kefu_notifications.handlers.provider import Letter
from kefu_notifications.settings import NotificationsSettings

_KEPT_IDLE_S = 20.0
"""Servers close idle connections, at the earliest after some tens of seconds."""


_IS_MESSAGE_ID = re.compile(r"[!-;=?-~]{1,250}")
"""Printable ASCII without blanks and angle brackets: nothing that could begin another header."""


class MailServer:
    """The mail server that the settings name."""

    def __init__(self, settings: NotificationsSettings) -> None:
        self._settings = settings
        self._sender = parseaddr(settings.mail_from)[1]
        self._idle: list[tuple[SMTP, float]] = []

    async def deliver(self, letter: Letter) -> Outcome:
        """Hand one e-mail over."""
        try:
            content = compose(letter, self._settings.mail_from)
        except (ValueError, LookupError):
            # No mail can be made of it, however often it is tried.
            return Outcome(Result.REJECTED)
        handed_over = False
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError):
            return Outcome(Result.RETRY)
        try:
            options = () if letter.to.isascii() else ("SMTPUTF8",)
            await client.mail(self._sender, options=options, encoding="utf-8")
            await client.rcpt(letter.to, encoding="utf-8")
            handed_over = True
            await client.data(content)
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            return Outcome(smtp_result(error.code))
        except (aiosmtplib.SMTPException, OSError):
            client.close()
            return Outcome(Result.UNKNOWN if handed_over else Result.RETRY)
        except BaseException:
            client.close()
            raise
        self._idle.append((client, time.monotonic()))
        return Outcome(Result.SENT)

    async def close(self) -> None:
        """Hang up."""
        while self._idle:
            self._idle.pop()[0].close()

    async def _connected(self) -> SMTP:
        while self._idle:
            client, since = self._idle.pop()
            if client.is_connected and time.monotonic() - since < _KEPT_IDLE_S:
                return client
            client.close()
        settings = self._settings
        host, port = settings.smtp_address
        client = SMTP(
            hostname=host,
            port=port,
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            local_hostname=_domain(self._sender),
            timeout=LONGEST_S / 4,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
        )
        await client.connect()
        return client


def compose(letter: Letter, mail_from: str) -> bytes:
    """The mail as it goes over the wire. Its Message-ID is the message's own, the same on each attempt."""
    mail = EmailMessage(policy=FOR_SMTP if letter.to.isascii() else FOR_SMTP_UTF8)
    mail["From"] = mail_from
    mail["To"] = letter.to
    mail["Subject"] = one_line(letter.wording.subject or "")
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = f"<{letter.id}@{_domain(parseaddr(mail_from)[1])}>"
    if thread := [f"<{id}>" for id in letter.thread if _IS_MESSAGE_ID.fullmatch(id)]:
        mail["In-Reply-To"] = thread[-1]
        mail["References"] = " ".join(dict.fromkeys(thread))
    if not letter.is_by_person:
        mail["Auto-Submitted"] = "auto-generated"
    mail["Kefu-Loop"] = "yes"  # should it come back to us, intake knows it
    mail.set_content(letter.wording.body, cte="base64")
    return mail.as_bytes()


def _domain(address: str) -> str:
    return address.rpartition("@")[2] or "kefu.example"
