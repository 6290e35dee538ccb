"""Small adapters to be checked: a good one, built on the client, and bad ones, each of which breaks one promise."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from kefu_client import Delivered, Failed, Instruction, Kefu, Outcome
from kefu_client.events import Event
from kefu_client.sending import Patience

QUICK = Patience(give_up_after_s=10.0, first_wait_s=0.02, longest_wait_s=0.1)


def a_start(type: str = "chat.started", **changes: Any) -> Event:
    event: Event = {
        "id": "start",
        "type": type,
        "site": "shop",
        "interaction": "i-1",
        "occurred_at": datetime.now(UTC).isoformat(),
    }
    event.update(changes)  # type: ignore[typeddict-item]
    return event


async def good(url: str, start: Event | None = None) -> None:
    """As an adapter should be."""

    async def handle(instruction: Instruction) -> Outcome:
        return Failed("unsupported") if instruction.type.endswith("somersault") else Delivered()

    async with Kefu(url, url, "key", patience=QUICK) as kefu:
        following = asyncio.create_task(kefu.follow(handle))
        try:
            await kefu.post(start or a_start())
            await following
        finally:
            following.cancel()
            await asyncio.wait([following])


class Bad:
    """An adapter without the client, which breaks what its subclasses say."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: set[str] = set()
        self.mark: str | None = None
        self.cancelled = False

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=None, trust_env=False) as self.http:
            await self.post(dict(self.start()), "/v1/chats")
            while True:
                try:
                    await self.listen()
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    def start(self) -> Event:
        return a_start()

    async def listen(self) -> None:
        headers = {"Last-Event-ID": self.mark} if self.mark and self.resumes() else {}
        async with self.http.stream("GET", "/v1/stream?feed=outbound", headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    self.mark = line.removeprefix("id: ")
                elif line.startswith("data: "):
                    await self.take(json.loads(line.removeprefix("data: ")))

    def resumes(self) -> bool:
        return True

    async def take(self, instruction: dict[str, Any]) -> None:
        if not self.is_wanted(instruction):
            return
        self.done.add(instruction["id"])
        await self.answer(instruction)

    def is_wanted(self, instruction: dict[str, Any]) -> bool:
        is_late = datetime.fromisoformat(instruction["data"]["expires_at"]) <= datetime.now(UTC)
        is_known = instruction["type"] in ("kefu.chat.say", "kefu.call.play", "kefu.call.ring", "kefu.call.cancel")
        return instruction["id"] not in self.done and not is_late and is_known

    async def answer(self, instruction: dict[str, Any]) -> None:
        await self.post(self.outcome(instruction))

    def outcome(self, instruction: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return {
            "id": f"{instruction['id']}.done",
            "type": "instruction.done",
            "site": "shop",
            "interaction": "i-1",
            "occurred_at": datetime.now(UTC).isoformat(),
            "data": {"instruction": instruction["id"]},
        } | changes

    async def post(self, event: dict[str, Any], path: str = "/v1/outcomes") -> None:
        while True:
            try:
                answer = await self.http.post(path, json=event)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code < 500:
                return
            await asyncio.sleep(float(answer.headers["retry-after"]))


class Deaf(Bad):
    async def listen(self) -> None:
        await asyncio.Event().wait()


class Mute(Bad):
    async def answer(self, instruction: dict[str, Any]) -> None:
        return


class Silent(Bad):
    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=None, trust_env=False) as self.http:
            await self.listen()


class Elsewhere(Bad):
    def outcome(self, instruction: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return super().outcome(instruction, interaction="i-2")


class Repeating(Bad):
    def is_wanted(self, instruction: dict[str, Any]) -> bool:
        self.done.clear()
        return super().is_wanted(instruction)

    def outcome(self, instruction: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return super().outcome(instruction, id=str(uuid4()))


class Forgetful(Bad):
    def resumes(self) -> bool:
        return False


class Tireless(Bad):
    """Does what has expired."""

    def is_wanted(self, instruction: dict[str, Any]) -> bool:
        is_known = instruction["type"] in ("kefu.chat.say", "kefu.call.play")
        return instruction["id"] not in self.done and is_known


class Slow(Bad):
    """Looks at the time only before it begins."""

    async def answer(self, instruction: dict[str, Any]) -> None:
        if instruction["data"].get("text") == "快一点":
            await asyncio.sleep(1.7)
        await super().answer(instruction)


class Backwards(Bad):
    """Keeps the first of three, and does it last."""

    kept: dict[str, Any] | None = None

    async def answer(self, instruction: dict[str, Any]) -> None:
        text = instruction["data"]["text"]
        if text == "第1句":
            self.kept = instruction
            return
        await super().answer(instruction)
        if text == "第3句" and self.kept is not None:
            await super().answer(self.kept)


class Acrobat(Bad):
    """Says of everything that it did it."""

    def is_wanted(self, instruction: dict[str, Any]) -> bool:
        return super().is_wanted(instruction) or instruction["type"].endswith("somersault")


class Hasty(Bad):
    """Knows no Retry-After."""

    async def post(self, event: dict[str, Any], path: str = "/v1/outcomes") -> None:
        while True:
            try:
                if (await self.http.post(path, json=event)).status_code < 500:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


class Optimist(Bad):
    """Takes a broken connection for a yes."""

    async def post(self, event: dict[str, Any], path: str = "/v1/outcomes") -> None:
        try:
            answer = await self.http.post(path, json=event)
        except httpx.TransportError:
            return
        if answer.status_code >= 500:
            await asyncio.sleep(float(answer.headers["retry-after"]))
            await self.post(event, path)


class Inventive(Bad):
    """Makes a new id for each try."""

    async def post(self, event: dict[str, Any], path: str = "/v1/outcomes") -> None:
        while True:
            try:
                answer = await self.http.post(path, json=event | {"id": str(uuid4())})
            except httpx.TransportError:
                continue
            if answer.status_code < 500:
                return
            await asyncio.sleep(float(answer.headers["retry-after"]))


class Stubborn(Bad):
    """Answers a call whose ring was cancelled."""

    def start(self) -> Event:
        return a_start("call.started")

    async def answer(self, instruction: dict[str, Any]) -> None:
        await super().answer(instruction)
        if instruction["type"] == "kefu.call.cancel":
            await self.post(dict(a_start("call.answered", id="answer", data={"agent": "a01"})), "/v1/calls")


class Sloppy(Bad):
    """Sends times without a zone."""

    def outcome(self, instruction: dict[str, Any], **changes: Any) -> dict[str, Any]:
        at = datetime.now(UTC).replace(tzinfo=None).isoformat()
        return super().outcome(instruction, **({"occurred_at": at} if len(self.done) == 2 else {}))


@asynccontextmanager
async def running(adapter: Callable[[], Any]) -> AsyncIterator[None]:
    """An adapter while the block runs."""
    task = asyncio.ensure_future(adapter())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
