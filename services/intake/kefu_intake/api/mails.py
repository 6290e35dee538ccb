"""Raw mails, from HTTP and from mail servers: read, their files stored, and published."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from kefu_common.attachments import Attachment
from kefu_common.directory_follower import Directory
from kefu_common.events.directory import Secret, Site
from kefu_common.http.auth import Principal
from kefu_common.http.problems import Invalid, Unavailable
from kefu_common.mail_tags import TAG_SIGNER, interaction_of_ticket, read_tag
from kefu_common.sealing import CannotOpen, Sealer
from kefu_common.telemetry import logs
from kefu_intake.api.accept import Acceptance, Accepted
from kefu_intake.api.files import Files
from kefu_intake.domain.mail.parts import File
from kefu_intake.domain.mail.reading import Mail, MailInvalid, read_mail
from kefu_intake.domain.mail.threads import event_id_of, interaction_of, tags_in
from kefu_intake.domain.mails import form_of

log = logs.get(__name__)
_AT_ONCE: Final = 2
"""Reading a mail is work for the processor: more threads would only slow down who posts events."""
_STORED_AT_ONCE: Final = 4
_WAITING: Final = 100


class Mails:
    """What happens to a raw mail."""

    def __init__(
        self,
        directory: Directory,
        sealer: Sealer,
        acceptance: Acceptance,
        files: Files,
        now: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._sealer = sealer
        self._acceptance = acceptance
        self._files = files
        self._now = now
        self._reading = asyncio.Semaphore(_AT_ONCE)
        self._storing = asyncio.Semaphore(_STORED_AT_ONCE)
        self._waiting = 0

    async def accept(
        self,
        raw: bytes,
        site: str,
        who: Principal,
        context: str | None,
        envelope_sender: str | None = None,
        more_tags: Sequence[str] = (),
    ) -> Accepted:
        """Publish a mail that came to the site. The same mail again, on whatever way, is the same event.

        `envelope_sender` is that of the SMTP dialogue, empty for the null sender; `more_tags` come from recipients.

        Raises:
            Problem: it is not on the topic, or nobody knows (503).
        """
        who.need_site(site)
        if self._directory.get(who.account, "site", Site, site) is None:
            raise Invalid([("site", "the directory has no such site")])
        mail, id = await self._read(raw, envelope_sender)
        interaction = self._tagged(who.account, [*tags_in(mail), *more_tags])
        if interaction is None:
            # The same mail may come to several sites: to each it is a thread of its own.
            interaction = f"{interaction_of(mail, id)}@{site}"
        files = await asyncio.gather(*(self._store(who.account, file) for file in mail.files))
        form = form_of(mail, id, site, interaction, files, self._now())
        return await self._acceptance.form(form, who, context)

    async def _read(self, raw: bytes, envelope_sender: str | None) -> tuple[Mail, str]:
        if self._waiting >= _WAITING:
            raise Unavailable("too many mails at the same time; post the same again")
        self._waiting += 1
        try:
            async with self._reading:
                return await asyncio.to_thread(_read, raw, envelope_sender)
        except MailInvalid as error:
            raise Invalid(error.complaints, "this cannot be read as an e-mail") from None
        finally:
            self._waiting -= 1

    def _tagged(self, account: str, tags: Sequence[str]) -> str | None:
        """The interaction of the first tag that the account's secret has signed."""
        signer = self._directory.get(account, "secret", Secret, TAG_SIGNER)
        if signer is None or not tags or not self._sealer.is_able:
            return None
        try:
            secret = self._sealer.open(signer.sealed)
        except CannotOpen as error:
            log.error("tag_not_checkable", hint="set KEFU_SEALING_KEYS as in routing", error=str(error))
            return None
        tickets = (read_tag(secret, tag) for tag in tags)
        return next((interaction_of_ticket(ticket) for ticket in tickets if ticket is not None), None)

    async def _store(self, account: str, file: File) -> tuple[str, Attachment, str | None]:
        async with self._storing:
            return file.name, await self._files.store(account, file.content, file.type), file.content_id


def _read(raw: bytes, envelope_sender: str | None) -> tuple[Mail, str]:
    return read_mail(raw, envelope_sender), event_id_of(raw)
