"""The mail listener: a mail server such as Postfix delivers straight in, by LMTP (RFC 2033) or SMTP (RFC 5321).

Recipients are the directory's mail addresses. `250` is answered only after Kafka has confirmed; whatever passes is
answered 4xx, so that the mail server keeps the mail and tries again.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from kefu_common.directory_follower import DirectoryFollower
from kefu_common.http.auth import Principal
from kefu_common.http.problems import Invalid, PayloadTooLarge, Problem
from kefu_common.telemetry import logs, metrics
from kefu_intake.api.body import MAX_FILE_BYTES
from kefu_intake.api.mails import Mails

log = logs.get(__name__)
# The library names addresses, and quotes what it does not understand.
logging.getLogger("mail.log").disabled = True

ADAPTER: Final = "mail-listener"
"""How events that came this way are stamped."""
_IDLE_S: Final = 60.0
_DRAIN_S: Final = 10.0
_TEMPORARY: Final = "451 4.3.0 {} cannot be taken now; try again later"


class _Dialogue(SMTP):
    """LMTP where the client begins with LHLO, SMTP otherwise."""

    line_length_limit = 1024 * 1024
    """Mails do hold longer lines than the standard allows."""

    def __init__(self, handler: "MailListener") -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_FILE_BYTES,
            enable_SMTPUTF8=True,
            hostname="kefu",
            ident="Kefu",
            timeout=_IDLE_S,
        )
        self._listener = handler
        self.is_lmtp = False

    def connection_made(self, transport: Any) -> None:
        """Greet, unless there are enough already: whoever comes too many tries again later."""
        if not self._listener.has_opened(self):
            transport.write(b"421 4.3.2 too many connections; try again later\r\n")
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        if self._listener.has_closed(self):
            super().connection_lost(error)

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, hostname: str) -> None:
        """The greeting of LMTP: each recipient gets an answer of its own."""
        self.is_lmtp = True
        await self.smtp_EHLO(hostname)


class MailListener:
    """Listens on a port of its own."""

    def __init__(self, follower: DirectoryFollower, mails: Mails, address: str, most_connections: int) -> None:
        self._follower = follower
        self._mails = mails
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._most = most_connections
        self._open: set[_Dialogue] = set()
        self._taking: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Dialogue(self), self._host or "127.0.0.1", self._port)

    async def stop(self) -> None:
        """Take no more; what is being taken is answered first."""
        if self._server is None:
            return
        self._server.close()
        if self._taking:
            await asyncio.wait(self._taking, timeout=_DRAIN_S)
        for dialogue in list(self._open):
            if dialogue.transport is not None:
                dialogue.transport.close()

    def has_opened(self, dialogue: _Dialogue) -> bool:
        """Whether there is room for the connection."""
        if len(self._open) >= self._most:
            return False
        self._open.add(dialogue)
        return True

    def has_closed(self, dialogue: _Dialogue) -> bool:
        """Whether it was one that had room."""
        was_open = dialogue in self._open
        self._open.discard(dialogue)
        return was_open

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Sequence[str]
    ) -> str:
        """Only what the directory knows comes in."""
        if self._follower.problem is not None:
            return _TEMPORARY.format("mail")
        if self._site_of(address) is None:
            return "550 5.1.1 nobody has this address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: _Dialogue, _session: Session, envelope: Envelope) -> str:
        """Publish the mail to each recipient's site, and answer when Kafka has it."""
        task = asyncio.current_task()
        assert task is not None
        self._taking.add(task)
        try:
            answers = await self._deliver(envelope)
        finally:
            self._taking.discard(task)
        if server.is_lmtp:
            return "\r\n".join(answers)
        # SMTP knows one answer: taken by all, or again for all, which is safe.
        return min(answers, key=lambda answer: {"4": 0, "5": 1, "2": 2}[answer[0]])

    async def handle_exception(self, error: Exception) -> str:
        """A fault of ours must not bounce anybody's mail: the mail server keeps it and tries again."""
        log.error("mail_failed", error=logs.described(error), exc_info=error)
        return _TEMPORARY.format("the mail")

    async def _deliver(self, envelope: Envelope) -> list[str]:
        content = envelope.original_content or b""
        done: dict[tuple[str, str], str] = {}
        answers = []
        for address in envelope.rcpt_tos:
            found = self._site_of(address)
            if found is not None and found not in done:
                done[found] = await self._publish(content, found, envelope, address)
            answers.append("550 5.1.1 nobody has this address here" if found is None else done[found])
        return answers

    async def _publish(self, content: bytes, place: tuple[str, str], envelope: Envelope, address: str) -> str:
        account, site = place
        who = Principal(account, ADAPTER, frozenset({"emails:write"}), ADAPTER, frozenset({site}))
        tag = address.rpartition("@")[0].partition("+")[2].lower()
        try:
            accepted = await self._mails.accept(content, site, who, None, envelope.mail_from or "", [tag])
        except (Invalid, PayloadTooLarge) as problem:
            metrics.MAILS_REFUSED.inc()
            log.warning("mail_refused", account=account, site=site, problem=problem.slug)
            return "554 5.6.0 this cannot be read as an e-mail"
        except Problem as problem:
            log.warning("mail_not_taken_now", account=account, site=site, problem=problem.slug)
            return _TEMPORARY.format("the mail")
        return f"250 2.0.0 {accepted.event}"

    def _site_of(self, address: str) -> tuple[str, str] | None:
        local, _, domain = address.rpartition("@")
        return self._follower.directory.site_by_address(f"{local.partition('+')[0]}@{domain}".lower())
