"""A lean HTTP client: keep-alive connections that write whole requests and look at nothing but the status.

A load generator that costs as much as the server would measure itself.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

_TRACED_EVERY = 10


class Connection(asyncio.Protocol):
    """One connection with at most one request under way. `on_answer(status)` is called for each answer."""

    def __init__(self, on_answer: Callable[["Connection", int], None]) -> None:
        self._on_answer = on_answer
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then tell its status."""
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0 or len(self._buffer) < head_end + 4 + _content_length(self._buffer[:head_end]):
            return
        status = int(self._buffer[9:12])
        self._buffer = b""
        self._on_answer(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server went away: no more answers will come."""
        self._transport = None

    def send(self, request: bytes) -> None:
        """Write one whole request."""
        if self._transport is None:
            raise ConnectionError("the server closed the connection")
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, count: int, on_answer: Callable[[Connection, int], None]) -> list[Connection]:
    """Open so many connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: Connection(on_answer), "127.0.0.1", port)
        opened.append(connection)
    return opened


class Requests:
    """Writes whole requests; one in ten carries a sampled trace context, the others none."""

    def __init__(self, path: str, key: str) -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()

    def request(self, number: int, body: bytes) -> bytes:
        """The n-th request."""
        traced = b"" if number % _TRACED_EVERY else _traceparent()
        return b"%s%sContent-Length: %d\r\n\r\n%s" % (self._head, traced, len(body), body)


def _traceparent() -> bytes:
    return f"traceparent: 00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01\r\n".encode()


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0
    return int(lower[at + 15 :].split(b"\r\n", 1)[0])
