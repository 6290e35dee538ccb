"""What goes to the object store: uploads, files of mails, and bodies too long for an event."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kefu_common.attachments import Attachment
from kefu_common.http.problems import Unavailable
from kefu_common.objects import Objects, ObjectsAway
from kefu_intake.domain.forms import Form
from kefu_intake.domain.long_bodies import split

_RETRY_AFTER_S = 2


class Files:
    """The object store, as intake uses it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def store(self, account: str, content: bytes, type: str) -> Attachment:
        """Store a file; again is the same. Raises `Unavailable`."""
        attachment = Attachment.of(content, type)
        try:
            await self._objects.put(account, attachment, content)
        except ObjectsAway:
            raise Unavailable("the object store is away; post the same again", _RETRY_AFTER_S) from None
        return attachment

    async def lay_aside(self, form: Form, account: str) -> Form:
        """An e-mail whose long bodies are stored, and attached to it instead. Raises `Unavailable`."""
        data, bodies = split(form.get("data") or {})
        attachments = data.get("attachments")
        listed = list(attachments) if isinstance(attachments, list) else []
        for body in bodies:  # two at the most
            stored = await self.store(account, body.content, body.type)
            listed.append({"ref": stored.ref, "name": body.name})
        return {**form, "data": {**data, "attachments": listed}}


class Room:
    """A bound on the bytes of large bodies that are held at the same time; over it callers come again."""

    def __init__(self, most_bytes: int) -> None:
        self._free = most_bytes

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes. Raises `Unavailable` at once when there is no room."""
        if size > self._free:
            raise Unavailable("too many large bodies at the same time; post the same again", _RETRY_AFTER_S)
        self._free -= size
        try:
            yield
        finally:
            self._free += size
