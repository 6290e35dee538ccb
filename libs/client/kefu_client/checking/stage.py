"""Kefu, played: takes posts, gives a stream of instructions, and misbehaves when told to."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import h11

_EVENT_PATHS: Final = frozenset(
    f"/v1/{path}" for path in ("calls", "chats", "emails", "messages", "visits", "ratings", "outcomes", "events")
)
_LARGEST: Final = 32 * 1024 * 1024
_COMMENT_EVERY_S: Final = 5.0
_RETRY_AFTER_S: Final = 1


class Trick(Enum):
    """How the next post is answered, instead of taken."""

    UNAVAILABLE = "503 with Retry-After"
    DROP = "read, and the connection dropped"


@dataclass(frozen=True, slots=True)
class Posted:
    """One event as the adapter posted it; `trick` when it was not taken."""

    at: float
    path: str
    event: dict[str, Any]
    trick: Trick | None = None

    @property
    def type(self) -> str:
        """Its type without `kefu.`."""
        return str(self.event.get("type", "")).removeprefix("kefu.")

    @property
    def data(self) -> dict[str, Any]:
        """Its data, empty where there is none."""
        found = self.event.get("data")
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Stage:
    """What came from the adapter, and what it is given."""

    posts: list[Posted] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Posts that could not be read at all."""
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    """What was given on the stream, by its mark."""
    opened: list[str | None] = field(default_factory=list)
    """For each time that the stream was opened the `Last-Event-ID`."""
    tricks: list[Trick] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)
    _streams: set[asyncio.StreamWriter] = field(default_factory=set)

    async def until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Whether it holds, now or in time."""
        try:
            async with asyncio.timeout(within_s), self.changed:
                await self.changed.wait_for(holds)
        except TimeoutError:
            return holds()
        return True

    async def give(self, instruction: dict[str, Any]) -> None:
        """Put an instruction on the stream; the same one again is a repetition."""
        mark = len(self.frames) + 1
        data = json.dumps(instruction, ensure_ascii=False)
        self.frames.append((mark, f"id: {mark}\nevent: {instruction['type']}\ndata: {data}\n\n".encode()))
        await self._tell()

    async def cut_streams(self) -> None:
        """Drop every open stream."""
        for writer in list(self._streams):
            writer.transport.abort()
        await self._tell()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen. Raises `OSError` when the port is taken."""
        return await asyncio.start_server(self._serve, host, port)

    def close(self) -> None:
        """Drop whoever is connected."""
        for writer in list(self._connections):
            writer.transport.abort()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError):
            pass  # the adapter hung up, which it may
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request, body = await _next_request(connection, reader)
            if request is None:
                return
            target = urlsplit(request.target.decode("ascii"))
            if request.method == b"GET" and target.path == "/v1/stream":
                await self._stream(connection, writer, request)
                return
            if request.method == b"POST" and self.tricks and target.path in _EVENT_PATHS:
                trick = self.tricks.pop(0)
                await self._keep(target.path, body, trick)
                if trick is Trick.DROP:
                    writer.transport.abort()
                    return
                await _answer(connection, writer, 503, {"title": "Unavailable", "status": 503})
            else:
                await _answer(connection, writer, *await self._take(request.method, target.path, target.query, body))
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()

    async def _take(self, method: bytes, path: str, query: str, body: bytes) -> tuple[int, Any]:
        if method == b"GET" and path in ("/healthz", "/readyz"):
            return 200, {"status": "ready"}
        if method != b"POST":
            return 404, {"title": "Not found", "status": 404}
        if path == "/v1/attachments":
            return 201, {"ref": f"{'0' * 64}/{len(body)}/application/octet-stream", "size": len(body)}
        if path == "/v1/emails/raw":
            if "site" not in parse_qs(query):
                return 422, {"title": "Invalid", "status": 422, "errors": [{"path": "site", "message": "required"}]}
            return 202, {"id": "mail", "interaction": "mail", "event": "mail"}
        if path not in _EVENT_PATHS:
            return 404, {"title": "Not found", "status": 404}
        events = await self._keep(path, body, None)
        if events is None:
            return 400, {"title": "Bad request", "status": 400}
        answers = [{"id": e.get("id"), "interaction": e.get("interaction"), "event": e.get("id")} for e in events]
        if body.lstrip().startswith(b"["):
            return 200, {"items": [{**each, "status": 202} for each in answers]}
        return 202, answers[0]

    async def _keep(self, path: str, body: bytes, trick: Trick | None) -> list[dict[str, Any]] | None:
        try:
            read = json.loads(body)
        except ValueError:
            self.broken.append(f"{path}: the body is not JSON")
            return None
        events = read if isinstance(read, list) else [read]
        if not all(isinstance(each, dict) for each in events) or not events:
            self.broken.append(f"{path}: expected an event or an array of events")
            return None
        now = time.monotonic()
        self.posts += [Posted(now, path, each, trick) for each in events]
        await self._tell()
        return events

    def _has_news(self, writer: asyncio.StreamWriter, place: int) -> bool:
        return len(self.frames) > place or writer.is_closing()

    async def _stream(self, connection: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request) -> None:
        headers = {name.lower(): value for name, value in request.headers}
        last = headers.get(b"last-event-id")
        self.opened.append(None if last is None else last.decode("latin-1"))
        place = int(last) if last is not None and last.isdigit() else len(self.frames)
        head = h11.Response(status_code=200, headers=[("Content-Type", "text/event-stream")])
        writer.write(connection.send(head) or b"")
        writer.write(connection.send(h11.Data(data=f": kefu outbound\nid: {place}\n\n".encode())) or b"")
        self._streams.add(writer)
        await self._tell()
        try:
            while not writer.is_closing():
                for mark, frame in self.frames[place:]:
                    writer.write(connection.send(h11.Data(data=frame)) or b"")
                    place = mark
                await writer.drain()
                if not await self.until(partial(self._has_news, writer, place), _COMMENT_EVERY_S):
                    comment = f": still here {datetime.now(UTC).isoformat()}\n\n".encode()
                    writer.write(connection.send(h11.Data(data=comment)) or b"")
        finally:
            self._streams.discard(writer)


async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request | None, bytes]:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(64 * 1024))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _LARGEST:
                raise h11.RemoteProtocolError("body too large")
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(body)
        else:
            return None, b""


async def _answer(connection: h11.Connection, writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if status == 503:
        headers.append(("Retry-After", str(_RETRY_AFTER_S)))
    writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
    writer.write(connection.send(h11.Data(data=body)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
