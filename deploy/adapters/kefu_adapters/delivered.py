"""The other half of the mail gateway: a mail server delivers by LMTP, and is told only what Kefu has said."""

import logging
from typing import Any, Final

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope, Session

from kefu_client import GaveUp, Kefu, Refused

log = logging.getLogger(__name__)

_LARGEST: Final = 30 * 1024 * 1024


class Delivery(LMTP):
    """Takes mails for anybody: which recipients there are is for the mail server in front to know."""

    line_length_limit = 1024 * 1024
    """Mails do hold longer lines than the standard allows."""

    def __init__(self, kefu: Kefu, site: str) -> None:
        super().__init__(_Handler(kefu, site), data_size_limit=_LARGEST, enable_SMTPUTF8=True, hostname="kefu-mail")


class _Handler:
    def __init__(self, kefu: Kefu, site: str) -> None:
        self._kefu = kefu
        self._site = site

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:
        """One answer for each recipient (RFC 2033, section 4.2), after Kefu's."""
        answer = await self._post(envelope.original_content or b"")
        return "\r\n".join([answer] * len(envelope.rcpt_tos))

    async def _post(self, content: bytes) -> str:
        try:
            accepted = await self._kefu.post_mail(content, self._site)
        except GaveUp:
            return "451 4.3.0 Kefu does not answer; try again later"
        except Refused as refused:
            log.error("Kefu refuses a mail: %d", refused.status)
            is_ours = refused.status in (401, 403)
            return "451 4.3.0 Kefu does not know our key" if is_ours else "554 5.6.0 Kefu cannot read this mail"
        return f"250 2.0.0 {accepted.event}"
