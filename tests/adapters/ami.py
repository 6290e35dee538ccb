"""An Asterisk that plays recorded sessions over real TCP, and writes down what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kefu_adapters.calls import read_messages

RECORDED = Path(__file__).parent / "recorded"


def scenes_of(name: str, began: float, call: str) -> list[str]:
    """A recorded session in its scenes, with times from `began` on and the call's own id."""
    text = (RECORDED / name).read_text(encoding="utf-8")
    for first in ("1764064200.33", "1764064300.41"):
        text = text.replace(first, call)
    lines = []
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        lines.append(f"Timestamp: {began + float(value[1:]):.3f}" if key == "Timestamp" else line)
    return [part.strip("\n") for part in "\n".join(lines).split("--- ")]


@dataclass
class Asterisk:
    """What it was asked, and who is connected."""

    actions: list[dict[str, str]] = field(default_factory=list)
    channels: list[dict[str, str]] = field(default_factory=list)
    """Those that CoreShowChannels lists."""
    refuses: frozenset[str] = frozenset()
    """Actions that it answers with an error."""
    logins: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def until(self, holds: Callable[[], bool], within_s: float = 20) -> None:
        async with asyncio.timeout(within_s), self.changed:
            await self.changed.wait_for(holds)

    def asked(self, action: str) -> list[dict[str, str]]:
        return [each for each in self.actions if each["Action"] == action]

    async def play(self, scene: str, **values: str) -> None:
        """Send the messages of a scene to whoever is connected."""
        for name, value in values.items():
            scene = scene.replace(f"@{name}", value)
        body = "\n".join(line for line in scene.splitlines() if line not in ("originated", "answered"))
        for message in read_messages(iter(body.splitlines())):
            await self._tell(message)

    async def hang_up(self) -> None:
        """Drop every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.write(b"Asterisk Call Manager/9.0.0\r\n")
        lines: list[str] = []
        try:
            while line := await reader.readline():
                if line.strip():
                    lines.append(line.decode())
                    continue
                [action] = read_messages(iter(lines))
                lines.clear()
                await self._answer(action, writer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, action: dict[str, str], writer: asyncio.StreamWriter) -> None:
        is_known = action["Action"] != "Login" or (action["Username"], action["Secret"]) == ("kefu", "geheim")
        is_done = is_known and action["Action"] not in self.refuses
        answer = {"Response": "Success" if is_done else "Error", "ActionID": action["ActionID"]}
        if not is_done:
            answer["Message"] = "No such channel" if is_known else "Authentication failed"
        writer.write(_bytes(answer))
        if action["Action"] == "CoreShowChannels":
            for channel in self.channels:
                writer.write(_bytes({"Event": "CoreShowChannel", **channel}))
            writer.write(_bytes({"Event": "CoreShowChannelsComplete"}))
        async with self.changed:
            self.actions.append(action)
            self.logins += action["Action"] == "Login"
            self.changed.notify_all()

    async def _tell(self, message: dict[str, str]) -> None:
        for writer in list(self._writers):
            writer.write(_bytes(message))
            await writer.drain()


@asynccontextmanager
async def an_asterisk() -> AsyncIterator[tuple[Asterisk, int]]:
    """A running one and its port."""
    asterisk = Asterisk()
    server = await asyncio.start_server(asterisk.serve, "127.0.0.1", 0)
    try:
        yield asterisk, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asterisk.hang_up()


def _bytes(message: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in message.items()).encode() + b"\r\n"
