"""A mail gateway: what comes into an IMAP mailbox is posted as it is, and marked only when Kefu has it."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from kefu_client import GaveUp, Kefu, Refused

log = logging.getLogger(__name__)

REFUSED: Final = b"$KefuRefused"
"""The keyword on mails that Kefu could not read: nobody posts them again, and whoever looks finds them."""
_TIMEOUT_S: Final = 60
_IDLE_S: Final = 25
"""Servers may end an IDLE after 30 minutes, and routers long before that."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Whose mails are posted, and to which site they came."""

    host: str
    port: int
    user: str
    password: str
    site: str
    folder: str = "INBOX"
    tls: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Up to which mail Kefu has all: UIDs grow, as long as UIDVALIDITY stays (RFC 3501, section 2.3.1.1)."""

    validity: int
    uid: int


class PlaceFile:
    """Keeps the place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Place | None:
        """What was kept last."""
        try:
            return Place(**json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def save(self, place: Place) -> None:
        """Keep it; a reader finds the old place or this one."""
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.write_text(json.dumps({"validity": place.validity, "uid": place.uid}), encoding="utf-8")
        os.replace(draft, self._path)


async def forward(kefu: Kefu, mailbox: Mailbox, places: PlaceFile) -> None:
    """Post each mail once Kefu answers, in their order, until cancelled. At the first start from what is unread.

    A mail that Kefu refuses for good is marked and the next goes on. Only what has its `202` is behind the place; so a
    crash posts a mail again, which is the same event.
    """
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            await _forward(kefu, mailbox, places)
            wait_s = _FIRST_WAIT_S
        except (IMAPClientError, OSError, GaveUp) as error:
            log.warning("the mailbox waits: %s", type(error).__name__)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def _forward(kefu: Kefu, mailbox: Mailbox, places: PlaceFile) -> None:
    """One look at the mailbox, and then waiting for news in it."""
    with _opened(mailbox) as opened:
        client = await opened
        try:
            selected = await asyncio.to_thread(client.select_folder, mailbox.folder)
            validity = int(selected[b"UIDVALIDITY"])
            place = places.load()
            if place is None or place.validity != validity:
                place = Place(validity, await asyncio.to_thread(_first, client, int(selected[b"UIDNEXT"]), place))
                places.save(place)
            while True:
                while uids := await asyncio.to_thread(_after, client, place.uid):
                    for uid in uids[:_AT_ONCE]:
                        await _post(kefu, client, mailbox.site, uid)
                        place = Place(validity, uid)
                        places.save(place)
                await asyncio.to_thread(_idle, client)
        finally:
            await asyncio.shield(asyncio.to_thread(_close, client))


@contextmanager
def _opened(mailbox: Mailbox) -> Iterator[Any]:
    def connect() -> IMAPClient:
        client = IMAPClient(mailbox.host, mailbox.port, ssl=mailbox.tls, timeout=_TIMEOUT_S)
        client.login(mailbox.user, mailbox.password)
        return client

    yield asyncio.to_thread(connect)


def _first(client: IMAPClient, next_uid: int, before: Place | None) -> int:
    """Where to begin: behind what was read by somebody; from the very first when the mailbox was made anew."""
    if before is not None:
        return 0
    unread = client.search("UNSEEN")
    return min(unread) - 1 if unread else next_uid - 1


def _after(client: IMAPClient, uid: int) -> list[int]:
    # `n:*` always names the last mail, also when its UID is smaller.
    return sorted(found for found in client.search(["UID", f"{uid + 1}:*"]) if found > uid)


async def _post(kefu: Kefu, client: IMAPClient, site: str, uid: int) -> None:
    fetched = await asyncio.to_thread(client.fetch, [uid], ["BODY.PEEK[]"])
    raw = fetched.get(uid, {}).get(b"BODY[]")
    if raw is None:
        return  # somebody deleted it meanwhile
    try:
        await kefu.post_mail(raw, site)
    except Refused as refused:
        if refused.status in (401, 403):
            raise GaveUp("the key may not post mails") from None
        log.error("Kefu refuses the mail with UID %d: %d", uid, refused.status)
        await asyncio.to_thread(client.add_flags, [uid], [REFUSED], silent=True)
        return
    await asyncio.to_thread(client.add_flags, [uid], [b"\\Seen"], silent=True)


def _idle(client: IMAPClient) -> None:
    """Wait for news, or a while where the server cannot tell."""
    if not client.has_capability("IDLE"):
        client.noop()
        return
    client.idle()
    try:
        client.idle_check(timeout=_IDLE_S)
    finally:
        client.idle_done()


def _close(client: IMAPClient) -> None:
    try:
        client.shutdown()
    except (IMAPClientError, OSError):
        return
