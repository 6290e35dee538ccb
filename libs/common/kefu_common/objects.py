"""The object store for attachments and long bodies: a local folder, or S3 and its like by URL (`obstore`).

Intake writes, routing serves and deletes. `KEFU_OBJECTS` is a folder, or a URL such as `s3://bucket/prefix`; for S3
the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …) name the rest.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from kefu_common.attachments import Attachment

_WITHIN_S: Final = 20.0
_CHUNK_BYTES: Final = 256 * 1024


class ObjectsAway(Exception):
    """The store did not do it in time, or could not; trying again is safe."""


class ObjectMissing(Exception):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored file: its size in bytes, and these bytes piece by piece."""

    size: int
    pieces: AsyncIterator[bytes]


class Objects:
    """Files of accounts."""

    def __init__(self, place: str) -> None:
        """Raises obstore's `BaseError` for a URL that no store takes, or for a folder that cannot be made."""
        self._store = _store(place)

    async def put(self, account: str, attachment: Attachment, content: bytes) -> None:
        """Store a file; the same again changes nothing. Raises `ObjectsAway`."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                await obstore.put_async(self._store, attachment.path(account), content)
        except (BaseError, OSError, TimeoutError) as error:
            raise ObjectsAway(type(error).__name__) from None

    async def open(self, account: str, attachment: Attachment) -> Opened:
        """A file. Raises `ObjectMissing`, `ObjectsAway`, both before the first piece."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                found = await obstore.get_async(self._store, attachment.path(account))
        except (FileNotFoundError, NotFoundError):
            raise ObjectMissing(attachment.sha256) from None
        except (BaseError, OSError, TimeoutError) as error:
            raise ObjectsAway(type(error).__name__) from None
        return Opened(found.meta["size"], _pieces(found))


async def _pieces(found: "obstore.GetResult") -> AsyncIterator[bytes]:
    async for piece in found.stream(min_chunk_size=_CHUNK_BYTES):
        yield bytes(piece)


def _store(place: str) -> ObjectStore:
    if "://" not in place:
        return LocalStore(Path(place).absolute(), mkdir=True)
    # Bounded: whoever waits for us is told to come again.
    return from_url(
        place,
        client_options={"timeout": timedelta(seconds=_WITHIN_S), "allow_http": True},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_WITHIN_S)},
    )
