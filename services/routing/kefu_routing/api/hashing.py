"""Hashing of passwords (Argon2id, RFC 9106), beside the event loop and only so many at once."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kefu_common.http.problems import Unavailable
from kefu_routing.domain.signing_in import normal

T = TypeVar("T")
_AT_ONCE: Final = 2
"""Each takes 64 MiB and a core for some tens of milliseconds."""
_MOST_WAITING: Final = 40
"""Whoever comes then would wait for seconds: the next is told to come again instead."""
_RETRY_AFTER_S: Final = 2


class Passwords:
    """Hashes and verifies."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._present = 0
        self._nobodys = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash of a new password. Raises `Unavailable` when too many wait."""
        return await self._beside(lambda: self._hasher.hash(normal(password)))

    async def is_right(self, hash: str | None, password: str) -> bool:
        """Whether it is the password. Without a hash it never is, and that takes as long. Raises `Unavailable`."""
        return await self._beside(lambda: self._verify(hash or self._nobodys, normal(password))) and hash is not None

    def _verify(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _beside(self, work: Callable[[], T]) -> T:
        if self._present >= _AT_ONCE + _MOST_WAITING:
            raise Unavailable("too many people sign in at this moment; try the same again", _RETRY_AFTER_S)
        self._present += 1
        try:
            async with self._room:
                return await asyncio.to_thread(work)
        finally:
            self._present -= 1
