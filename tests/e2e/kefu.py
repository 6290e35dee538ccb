"""Kefu as its users see it: over HTTP and SSE only."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx

from kefu_local.stack import StackFile

T = TypeVar("T")
Json = dict[str, Any]


async def until(what: str, probe: Callable[[], Awaitable[T | None]], within_s: float = 20.0) -> T:
    """The first thing that `probe` finds. Fails after the deadline, naming what was awaited."""
    deadline = time.monotonic() + within_s
    while True:
        found = await probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"within {within_s:g} s: {what}")
        await asyncio.sleep(0.05)


def now() -> str:
    """The present moment as adapters write it."""
    return datetime.now(UTC).isoformat()


def an_id(prefix: str) -> str:
    """A fresh id."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@dataclass
class Stream:
    """An open SSE feed: what has come so far, and the mark to resume from."""

    events: list[Json] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def first(self, what: str, matches: Callable[[Json], bool], within_s: float = 20.0) -> Json:
        """The first event that matches, now or soon."""

        async def probe() -> Json | None:
            return next((e for e in self.events if matches(e)), None)

        return await until(f"{what}; came: {[e['type'] for e in self.events]}", probe, within_s)


class Kefu:
    """A client of one account: its adapter's key and its admin's key."""

    def __init__(self, stack: StackFile, admin: str | None = None, adapter: str | None = None) -> None:
        self.stack = stack
        self.urls = stack["services"]
        self.admin = admin or stack["keys"]["admin"]
        self.adapter = adapter or stack["keys"]["adapter"]
        self.http = httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=50))
        self.signed_in: set[str] = set()

    async def __aenter__(self) -> "Kefu":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def post_raw(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        """What an adapter posts, and the plain answer."""
        sent = {"Authorization": f"Bearer {key or self.adapter}", **headers}
        return await self.http.post(f"{self.urls['intake']}{path}", json=body, headers=sent)

    async def post(self, path: str, type: str, interaction: str, site: str = "shop", **fields: Any) -> Json:
        """Post one event and see that it was accepted."""
        traceparent = fields.pop("traceparent", None)
        body = {
            "id": an_id("e"),
            "type": type,
            "site": site,
            "interaction": interaction,
            "occurred_at": now(),
            **fields,
        }
        headers = {"traceparent": traceparent} if traceparent else {}
        answer = await self.post_raw(path, body, **headers)
        assert answer.status_code == 202, answer.text
        answered: Json = answer.json()
        return answered

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        agent: str | None = None,
        key: str | None = None,
        expect: int | None = 200,
        **headers: str,
    ) -> Json:
        """A call with the admin's key, for an agent if named; the status is checked."""
        sent = {"Authorization": f"Bearer {key or self.admin}", **headers}
        if agent is not None:
            sent["Kefu-Agent"] = agent
        answer = await self.http.request(method, f"{self.urls[service]}{path}", json=body, headers=sent)
        assert expect is None or answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json() if answer.content else {}
        return found

    async def sign_in(self, *agents: str, lease_s: int = 0) -> None:
        """Agents take their seats."""
        for agent in agents:
            await self.call("routing", "POST", f"/v1/agents/{agent}/sign-in", {"lease_s": lease_s}, agent=agent)
            self.signed_in.add(agent)

    async def sign_everybody_out(self) -> None:
        """All who signed in leave."""
        for agent in sorted(self.signed_in):
            await self.call("routing", "POST", f"/v1/agents/{agent}/sign-out", {}, agent=agent)
        self.signed_in.clear()

    async def ticket_of(self, interaction: str, within_s: float = 20.0) -> Json:
        """The ticket of an interaction, once it is there."""

        async def probe() -> Json | None:
            found = await self.call("routing", "GET", f"/v1/tickets?interaction={interaction}")
            return found["items"][0] if found["items"] else None

        return await until(f"a ticket of {interaction}", probe, within_s)

    async def ticket_in(self, interaction: str, status: str, within_s: float = 20.0) -> Json:
        """The ticket of an interaction, once it has this status."""

        async def probe() -> Json | None:
            ticket = await self.ticket_of(interaction, within_s)
            return ticket if ticket["status"] == status else None

        return await until(f"the ticket of {interaction} is {status}", probe, within_s)

    async def offer_of(self, ticket: Json, within_s: float = 20.0) -> Json:
        """The open offer of a ticket, once it is there; any agent's."""

        async def probe() -> Json | None:
            current = await self.call("routing", "GET", f"/v1/tickets/{ticket['id']}")
            if current["offer"] is None:
                return None
            history = await self.call("routing", "GET", f"/v1/tickets/{ticket['id']}/history?limit=1000")
            found: Json = next(e["data"] for e in history["items"] if e["type"] == "kefu.ticket.offered")
            return found

        return await until(f"an offer of {ticket['id']}", probe, within_s)

    async def accept(self, offer: Json, expect: int = 200) -> Json:
        """The agent to whom it was offered accepts."""
        return await self.call(
            "routing", "POST", f"/v1/offers/{offer['offer']}/accept", {}, agent=offer["agent"], expect=expect
        )

    async def command(self, ticket: Json, name: str, body: Json, agent: str, expect: int = 200) -> Json:
        """A command of an agent on a ticket."""
        return await self.call(
            "routing", "POST", f"/v1/tickets/{ticket['id']}/{name}", body, agent=agent, expect=expect
        )

    @asynccontextmanager
    async def stream(self, feed: str, key: str | None = None, after: str | None = None) -> AsyncIterator[Stream]:
        """An open feed; what comes is gathered in the background."""
        stream = Stream()
        opened = asyncio.Event()
        reader = asyncio.create_task(self._read(feed, key or self._key_of(feed), after, stream, opened))
        try:
            waiting = asyncio.create_task(opened.wait())
            await asyncio.wait({reader, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            waiting.cancel()
            if reader.done():
                reader.result()
            yield stream
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _key_of(self, feed: str) -> str:
        return self.adapter if feed == "outbound" else self.admin

    async def _read(self, feed: str, key: str, after: str | None, stream: Stream, opened: asyncio.Event) -> None:
        headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": after} if after else {})
        url = f"{self.urls['notifications']}/v1/stream?feed={feed}"
        async with self.http.stream("GET", url, headers=headers, timeout=None) as answer:
            assert answer.status_code == 200, answer.status_code
            mark = ""
            async for line in answer.aiter_lines():
                opened.set()
                name, _, value = line.partition(": ")
                if name == "id":
                    mark = value
                elif name == "data":
                    stream.events.append(json.loads(value))
                    stream.marks.append(mark)
                    stream.arrived.set()
