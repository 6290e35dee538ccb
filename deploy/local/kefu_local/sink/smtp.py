"""The mail server: takes mail for anybody, decodes it, keeps it."""

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

from kefu_local.sink.behaviour import Switch
from kefu_local.sink.store import Store

SIZE_LIMIT_BYTES = 32 * 2**20


class Mailbox:
    """Handler for aiosmtpd. One message per recipient is kept."""

    def __init__(self, store: Store, switch: Switch) -> None:
        self._store = store
        self._switch = switch

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        behaviour = self._switch.now.email
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        if behaviour.fails():
            return "451 4.3.0 The sink was told to fail; try again later"
        content = envelope.content or b""
        mail = message_from_bytes(content if isinstance(content, bytes) else content.encode(), policy=policy.default)
        for recipient in envelope.rcpt_tos:
            self._keep(mail, recipient, envelope.mail_from or "", once=behaviour.honour_idempotency)
        if behaviour.drops():
            _cut(server)
        return "250 2.0.0 Kept"

    def _keep(self, mail: EmailMessage, recipient: str, sender: str, *, once: bool) -> None:
        message_id = mail.get("Message-ID")
        key = f"email {recipient} {message_id}" if message_id else None
        if once and key and self._store.with_key(key):
            return
        subject = str(mail.get("Subject", ""))
        self._store.add("email", to=recipient, sender=sender, subject=subject, text=_text(mail), idempotency_key=key)


def make_server(store: Store, switch: Switch) -> SMTP:
    return SMTP(Mailbox(store, switch), enable_SMTPUTF8=True, data_size_limit=SIZE_LIMIT_BYTES, hostname="sink.local")


def _cut(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(preferencelist=("plain", "html"))
    if body is None:
        return ""
    try:
        return str(body.get_content())
    except LookupError:  # a charset that Python does not know
        payload = body.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
