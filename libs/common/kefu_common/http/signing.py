"""Signed requests, for adapters whose TLS ends where others can read (design, section 5).

The request carries no secret, only what the secret makes of it: `Kefu-Key: <account>/<key id>`,
`Kefu-Timestamp: <Unix seconds>` and `Kefu-Signature: v1=<hex>`. Whoever reads it can at most send the very same
request again, within the window, which changes nothing: events take effect once.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Final

WINDOW_S: Final = 300
"""How far the timestamp may be from our clock."""
_VERSION: Final = "v1="


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signed request says of itself."""

    account: str
    key: str
    timestamp: str
    signature: str

    def is_timely(self, now: datetime) -> bool:
        """Whether it was signed within the window around now."""
        digits = self.timestamp
        return digits.isascii() and digits.isdigit() and abs(int(digits[:12]) - now.timestamp()) <= WINDOW_S

    def is_by(self, secret: str, method: str, target: str, body: bytes | bytearray) -> bool:
        """Whether this secret signed this request."""
        return hmac.compare_digest(sign(secret, self.timestamp, method, target, body), self.signature.encode())


def read(headers: dict[bytes, bytes]) -> Signed | None:
    """The signature of a request; None when it carries none. What is no signature is one that nobody made."""
    given = headers.get(b"kefu-key")
    if given is None:
        return None
    account, _, key = given.decode("latin-1").partition("/")
    timestamp, signature = (headers.get(name, b"").decode("latin-1") for name in (b"kefu-timestamp", b"kefu-signature"))
    return Signed(account, key, timestamp, signature)


def sign(secret: str, timestamp: str, method: str, target: str, body: bytes | bytearray) -> bytes:
    """The signature: HMAC-SHA256 over timestamp, method, target as sent and the body's SHA-256, a line each."""
    said = f"{timestamp}\n{method}\n{target}\n{hashlib.sha256(body).hexdigest()}"
    return f"{_VERSION}{hmac.new(secret.encode(), said.encode('latin-1'), hashlib.sha256).hexdigest()}".encode()
