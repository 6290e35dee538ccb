"""A call bridge: Asterisk's Manager Interface on one side, Kefu on the other."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from kefu_adapters.calls import Ami, Calls
from kefu_client import Done, Event, Failed, Instruction, Kefu, Marks, Outcome

log = logging.getLogger(__name__)

_ANSWER_S: Final = 10.0
_PING_EVERY_S: Final = 15.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_MOST_WAITING: Final = 10_000
"""Events that wait for Kefu; over it Asterisk's are read no further."""
_LONGEST_LINE: Final = 64 * 1024


class AmiRefused(Exception):
    """Asterisk does not let us in."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where Asterisk listens, and as whom we come."""

    host: str
    port: int
    user: str
    secret: str


class Bridge:
    """One Asterisk and one site."""

    def __init__(self, kefu: Kefu, login: Login, calls: Calls) -> None:
        self._kefu = kefu
        self._login = login
        self._calls = calls
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[str, asyncio.Future[Ami]] = {}
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(_MOST_WAITING)

    async def run(self, marks: Marks, on_open: Callable[[], None] = lambda: None) -> None:
        """Until cancelled. Raises `AmiRefused`, and `kefu_client.Refused` for a key that may not follow."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._post_all())
            tasks.create_task(self._listen())
            tasks.create_task(self._kefu.follow(self.handle, marks, on_open=on_open))

    async def handle(self, instruction: Instruction) -> Outcome | None:
        """Ask Asterisk, and say what it answered; what becomes of a ring is said when Asterisk knows."""
        actions = self._calls.actions_for(instruction, datetime.now(UTC))
        if actions is None:
            is_over = instruction.interaction not in self._calls.going
            return Failed("the call is over" if is_over else "unsupported")
        answer: Ami = {}
        for action in actions:
            answer = await self._ask(action)
            if answer.get("Response") != "Success":
                break
        if instruction.type == "call.cancel":
            return Done()  # a phone that does not ring any more need not be stopped
        if answer.get("Response") == "Success":
            return None if instruction.type == "call.ring" else Done()
        return Failed(answer.get("Message") or f"Asterisk: reason {answer.get('Reason', 'unknown')}")

    async def _ask(self, action: Mapping[str, str]) -> Ami:
        """The first answer to an action, which says whether Asterisk will do it."""
        id = action.get("ActionID", str(uuid4()))
        answer: asyncio.Future[Ami] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        try:
            await self._send({**action, "ActionID": id})
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            return {"Response": "Error", "Message": "Asterisk does not answer"}
        except ConnectionError:
            return {"Response": "Error", "Message": "no connection to Asterisk"}
        finally:
            self._answers.pop(id, None)

    async def _send(self, action: Mapping[str, str]) -> None:
        writer = self._writer
        if writer is None:
            raise ConnectionError("not connected")
        lines = (f"{name}: {_one_line(value)}\r\n" for name, value in action.items())
        writer.write("".join(lines).encode() + b"\r\n")
        await writer.drain()

    async def _listen(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(
                    self._login.host, self._login.port, limit=_LONGEST_LINE
                )
                reading = asyncio.create_task(self._read(reader))
                try:
                    await self._begin()
                    wait_s = _FIRST_WAIT_S
                    await self._stay(reading)
                finally:
                    reading.cancel()
                    await asyncio.wait([reading])
            except OSError as error:
                log.warning("no connection to Asterisk: %s", type(error).__name__)
            finally:
                if self._writer is not None:
                    self._writer.close()
                self._writer = None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    async def _begin(self) -> None:
        login = {"Action": "Login", "Username": self._login.user, "Secret": self._login.secret, "Events": "on"}
        answer = await self._ask(login)
        if answer.get("Response") != "Success":
            if answer.get("Message") == "Authentication failed":
                raise AmiRefused("Asterisk does not know this user, or the secret is another")
            raise ConnectionError(answer.get("Message", ""))
        self._seen: set[str] = set()
        self._is_looking = True
        await self._ask({"Action": "CoreShowChannels"})

    async def _stay(self, reading: "asyncio.Task[None]") -> None:
        """Until the connection ends, or Asterisk falls silent."""
        while not reading.done():
            await asyncio.wait([reading], timeout=_PING_EVERY_S)
            if not reading.done() and (await self._ask({"Action": "Ping"})).get("Response") != "Success":
                raise ConnectionError("silent")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        message: dict[str, str] = {}
        while line := await reader.readline():
            name, colon, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            if colon:
                message[name.strip()] = value.strip()
            elif message:
                await self._take(message)
                message = {}

    async def _take(self, message: Ami) -> None:
        answer = self._answers.get(message.get("ActionID", ""))
        match message:
            case {"Event": "CoreShowChannel"}:
                self._seen.add(message.get("Uniqueid", ""))
            case {"Event": "CoreShowChannelsComplete"} if self._is_looking:
                self._is_looking = False
                await self._say(self._calls.missed(frozenset(self._seen), datetime.now(UTC)))
            case {"Event": _}:
                await self._say(self._calls.heard(message, datetime.now(UTC)))
            case {"Response": _} if answer is not None and not answer.done():
                answer.set_result(message)

    async def _say(self, events: list[Event]) -> None:
        for event in events:
            await self._waiting.put(event)

    async def _post_all(self) -> None:
        """In order, in arrays of whatever has come meanwhile."""
        while True:
            events = [await self._waiting.get()]
            while not self._waiting.empty() and len(events) < 500:
                events.append(self._waiting.get_nowait())
            for event, result in zip(events, await self._kefu.post_many(events), strict=True):
                if isinstance(result, Exception):
                    log.error("Kefu refuses %s: %s", event["type"], result)


def _one_line(value: str) -> str:
    """Nothing that a value holds may become another header."""
    return " ".join(value.split())
