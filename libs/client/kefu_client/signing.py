"""Signing requests, for adapters whose TLS ends where others can read: no secret travels with them."""

import hashlib
import hmac
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Signing:
    """A key that signs: its account and id, and the secret that was shown when it was made."""

    account: str
    key: str
    secret: str


def sign(secret: str, timestamp: str, method: str, target: str, body: bytes) -> str:
    """`v1=` and HMAC-SHA256 in hex over timestamp, method, target as sent, and the body's SHA-256, a line each."""
    said = f"{timestamp}\n{method}\n{target}\n{hashlib.sha256(body).hexdigest()}"
    return f"v1={hmac.new(secret.encode(), said.encode(), hashlib.sha256).hexdigest()}"


class Signer(httpx.Auth):
    """Signs each request anew, also one that is sent again: the timestamp must be of now."""

    requires_request_body = True

    def __init__(self, signing: Signing, now: Callable[[], float] = time.time) -> None:
        self._signing = signing
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the three headers."""
        timestamp = str(int(self._now()))
        target = request.url.raw_path.decode("ascii")
        signature = sign(self._signing.secret, timestamp, request.method, target, request.content)
        request.headers["Kefu-Key"] = f"{self._signing.account}/{self._signing.key}"
        request.headers["Kefu-Timestamp"] = timestamp
        request.headers["Kefu-Signature"] = signature
        yield request
