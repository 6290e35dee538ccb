"""A mail server and an SMS provider that answer as a test tells them to."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Mail:
    to: str
    mail: EmailMessage

    @property
    def text(self) -> str:
        return str(self.mail.get_content()).replace("\r\n", "\n").rstrip()


@dataclass(frozen=True)
class Sms:
    id: str
    to: str
    text: str
    key: str | None


@dataclass
class Sink:
    """Keeps what it accepted. `answer_mail` and `answer_sms` decide about each attempt by its recipient: an SMTP
    reply or None to accept it, an HTTP status with headers or None."""

    smtp_port: int = 0
    sms_port: int = 0
    mails: list[Mail] = field(default_factory=list)
    texts: list[Sms] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    answer_mail: dict[str, Callable[[int], str | None]] = field(default_factory=dict)
    answer_sms: dict[str, Callable[[int], tuple[int, dict[str, str]] | None]] = field(default_factory=dict)
    hangs: dict[str, asyncio.Event] = field(default_factory=dict)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _web: uvicorn.Server | None = None
    _task: "asyncio.Task[None] | None" = None

    def mails_to(self, to: str) -> list[Mail]:
        return [m for m in self.mails if m.to == to]

    def texts_to(self, to: str) -> list[Sms]:
        return [t for t in self.texts if t.to == to]

    def hang(self, to: str) -> None:
        """Accept what goes to this recipient, and do not say so until `release`."""
        self.hangs[to] = asyncio.Event()

    def release(self) -> None:
        for released in self.hangs.values():
            released.set()

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos[0]
        self.attempts.append(to)
        answer = self.answer_mail.get(to)
        if answer is not None and (reply := answer(self.attempts.count(to))) is not None:
            return reply
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(Mail(to, mail))
        if to in self.hangs:
            await self.hangs[to].wait()
        return "250 2.0.0 kept"

    async def take_sms(self, request: Request) -> JSONResponse:
        body = await request.json()
        to = body["to"]
        self.attempts.append(to)
        answer = self.answer_sms.get(to)
        if answer is not None and (status := answer(self.attempts.count(to))) is not None:
            return JSONResponse({"error": "as told"}, *status)
        self.texts.append(Sms(body["id"], to, body["text"], request.headers.get("idempotency-key")))
        if to in self.hangs:
            await self.hangs[to].wait()
        return JSONResponse({"id": f"provider-{body['id']}"})

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        mail = await loop.create_server(lambda: SMTP(self, enable_SMTPUTF8=True, hostname="sink"), "127.0.0.1", 0)
        self.smtp_port = mail.sockets[0].getsockname()[1]
        self._servers.append(mail)
        app = Starlette(routes=[Route("/sms", self.take_sms, methods=["POST"])])
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.sms_port = listener.getsockname()[1]
        self._web = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._task = asyncio.create_task(self._web._serve([listener]))
        while not self._web.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.release()
        for server in self._servers:
            server.close()
        if self._web is not None and self._task is not None:
            self._web.should_exit = True
            with suppress(asyncio.CancelledError):
                await self._task
