"""Keys and passwords: made once, kept in `secrets.json` (0600), the same at every start."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography.fernet import Fernet

from kefu_local.folder import write_json

SERVICES_WITH_DATABASE = ("routing", "notifications", "reporting")


@dataclass(frozen=True)
class Credentials:
    operator: str
    postgres: Mapping[str, str]
    """Passwords by service name, and `admin`."""
    sealing: str = ""
    """The Fernet key that seals secrets in the directory."""
    admin: str | None = None
    adapter: str | None = None
    demo_complete: bool = False
    """Whether the demo account was created to its end."""
    demo_edition: int = 1
    """Which edition of it that was."""


class CredentialsFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Credentials:
        """What is kept, or fresh ones, which are kept from then on."""
        if self._path.exists():
            known = Credentials(**json.loads(self._path.read_text(encoding="utf-8")))
            return known if known.sealing else self._write(replace(known, sealing=_sealing_key()))
        fresh = Credentials(
            operator=secrets.token_urlsafe(32),
            postgres={name: secrets.token_urlsafe(24) for name in ("admin", *SERVICES_WITH_DATABASE)},
            sealing=_sealing_key(),
        )
        self._write(fresh)
        return fresh

    def keep_admin(self, key: str) -> Credentials:
        return self._write(replace(self.load(), admin=key, adapter=None, demo_complete=False))

    def keep_adapter(self, key: str) -> Credentials:
        return self._write(replace(self.load(), adapter=key))

    def keep_demo_complete(self, edition: int) -> Credentials:
        return self._write(replace(self.load(), demo_complete=True, demo_edition=edition))

    def _write(self, credentials: Credentials) -> Credentials:
        write_json(self._path, asdict(credentials))
        return credentials


def _sealing_key() -> str:
    return Fernet.generate_key().decode()
