"""Secrets that must be read again, encrypted where they are kept: signing secrets in the directory above all.

`KEFU_SEALING_KEYS` holds Fernet keys (https://github.com/fernet/spec), the newest first: it seals, all of them open.
So a key is replaced by putting a new one in front of it in every service, routing last.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_KEPT: Final = 10_000


class CannotOpen(Exception):
    """Sealed by a key that this process does not have, or tampered with."""


class Sealer:
    """Seals and opens short texts."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises `ValueError` for what is no Fernet key."""
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self._opened: dict[str, str] = {}

    @classmethod
    def of(cls, setting: str) -> "Sealer":
        """By the setting: keys with commas between them; empty: nothing can be sealed or opened."""
        return cls([key.strip() for key in setting.split(",") if key.strip()])

    @property
    def is_able(self) -> bool:
        """Whether it has a key."""
        return self._fernet is not None

    def seal(self, secret: str) -> str:
        """The sealed form. Raises `CannotOpen` without a key."""
        if self._fernet is None:
            raise CannotOpen("KEFU_SEALING_KEYS is empty")
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """The secret; remembered, since the same few are needed for every request. Raises `CannotOpen`."""
        known = self._opened.get(sealed)
        if known is not None:
            return known
        secret = self.open_once(sealed)
        if len(self._opened) >= _KEPT:
            self._opened.clear()
        self._opened[sealed] = secret
        return secret

    def open_once(self, sealed: str) -> str:
        """A secret that is not needed again, and not remembered. Raises `CannotOpen`."""
        if self._fernet is None:
            raise CannotOpen("KEFU_SEALING_KEYS is empty")
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise CannotOpen("none of KEFU_SEALING_KEYS opens it") from None
