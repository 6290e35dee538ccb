"""A load: interactions of every channel from the adapter's side, and agents who handle them."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from kefu_local.stack import StackFile
from tests.e2e.kefu import Json
from tests.faults.clients import Clients
from tests.faults.record import Commanded, Posted, Record, Story

AGENTS = [f"a{number:02}" for number in range(1, 13)]
CATEGORIES = ("pre-sale", "after-sale", "complaints", None)
MIX = [Story.CHAT] * 8 + [Story.EMAIL] * 3 + [Story.MESSAGE] * 3 + [Story.CALL] * 4 + list(Story)
PATHS = {"call": "/v1/calls", "chat": "/v1/chats", "email": "/v1/emails", "message": "/v1/messages"}
ENDED = ("resolved", "abandoned", "refused")
MOST_OPEN = 150
REPLIES = {"call": 0, "chat": 2, "email": 1, "message": 1}


class Load:
    """One adapter with its calls, chats and mails, and the agents; all that they do is in `record`."""

    def __init__(self, clients: Clients, seed: int, agents: Sequence[str]) -> None:
        self.record = Record()
        self._agents = agents
        self._clients = clients
        self.repeated_share = 0.1
        self._random = random.Random(seed)
        self._rung: set[str] = set()
        self._seen: set[str] = set()
        self._over: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []

    async def sign_in(self) -> None:
        """All agents take their seats."""
        for agent in self._agents:
            await self._command(agent, f"/v1/agents/{agent}/sign-in", {"lease_s": 0})

    async def sign_out(self) -> None:
        """All agents leave."""
        for agent in self._agents:
            await self._command(agent, f"/v1/agents/{agent}/sign-out", {})

    async def run(self, least: int, per_s: float, goes_on: Callable[[], bool]) -> None:
        """Begin interactions: `least` of them, then more while `goes_on`; at this pace, slower when many are open."""
        while len(self.record.stories) < least or goes_on():
            self.begin(self._random.choice(MIX))
            is_much = len(self.record.stories) - len(self._over) > MOST_OPEN
            await asyncio.sleep(self._random.expovariate(1 if is_much else per_s))
            self.check()

    def begin(self, story: Story) -> str:
        """Let one interaction begin; returns its id."""
        interaction = f"{self.record.run}-{len(self.record.stories)}"
        self.record.stories[interaction] = story
        if story is Story.KEPT:
            self._over.add(interaction)
        self._start(self._tell(interaction, story, self._random.choice(CATEGORIES)))
        return interaction

    async def posted(self, within_s: float) -> None:
        """Return when everything that was begun is done, on the adapter's and the agents' side."""
        async with asyncio.timeout(within_s):
            while self._tasks:
                await asyncio.wait(set(self._tasks))
                self.check()

    def check(self) -> None:
        """Raise what a client's task failed with."""
        if self._failed:
            raise self._failed[0]

    def take_instruction(self, instruction: Json) -> None:
        """From the outbound stream: a phone that rings for the first time is answered."""
        interaction = instruction["subject"]
        if interaction not in self.record.stories:
            return
        self.record.instructions.append(instruction)
        rings = instruction["type"] == "kefu.call.ring" and self.record.stories[interaction] is Story.CALL
        if rings and interaction not in self._rung:
            self._rung.add(interaction)
            self._start(self._pick_up(interaction, instruction["data"]["agent"]))

    def take_event(self, event: Json) -> None:
        """From the tickets stream: agents take what is offered to them, and handle what they have."""
        self.record.events.append(event)
        if event["id"] in self._seen:
            return
        self._seen.add(event["id"])
        data = event["data"]
        if data["status"] in ENDED:
            self._over.add(event["subject"])
        if event["type"] == "kefu.ticket.offered" and data["channel"] != "call":
            self._start(self._accept(data["agent"], data["offer"]))
        elif event["type"] == "kefu.ticket.lapsed":
            self._start(self._come_back(data["agent"]))
        elif event["type"] == "kefu.ticket.assigned":
            self._start(self._handle(event["subject"], data["agent"], data["channel"]))

    async def stop(self) -> None:
        """End what still goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, interaction: str, story: Story, category: str | None) -> None:
        number = int(interaction.rpartition("-")[2])
        start = {"category": category, "contact": _contact(self.record.run, number, story)}
        match story:
            case Story.CHAT | Story.REFUSED:
                await self._post(interaction, "chat.started", start)
                for n in range(1, 4):
                    await self._post(interaction, "chat.message", {"data": {"text": f"{interaction} says {n}"}})
            case Story.EMAIL:
                data = {"subject": f"mail {interaction}", "text": f"{interaction} says 1"}
                await self._post(interaction, "email.received", {**start, "data": data})
            case Story.MESSAGE | Story.KEPT:
                await self._post(interaction, "message.left", {**start, "data": {"text": f"{interaction} says 1"}})
            case Story.CALL:
                await self._post(interaction, "call.started", start)
            case Story.HANG_UP:
                await self._post(interaction, "call.started", start)
                await self._post(interaction, "call.ended", {"data": {"cause": "caller"}})

    async def _pick_up(self, interaction: str, agent: str) -> None:
        await self._post(interaction, "call.answered", {"data": {"agent": agent}})
        await self._post(interaction, "call.ended", {"data": {"cause": "caller"}})

    async def _post(self, interaction: str, type: str, more: Json) -> None:
        """One event, posted until 202, and now and then once more: a client that lost the answer."""
        story = self.record.stories[interaction]
        known = self.record.posts.setdefault(interaction, [])
        body = {
            "id": f"{interaction}.{len(known)}",
            "type": type,
            "site": "night" if story in (Story.REFUSED, Story.KEPT) else "shop",
            "interaction": interaction,
            "occurred_at": datetime.now(UTC).isoformat(),
            **more,
        }
        posted = Posted(body)
        known.append(posted)
        url = self._clients.urls["intake"] + PATHS[type.partition(".")[0]]
        headers = {"Authorization": f"Bearer {self._clients.keys['adapter']}"}
        for _ in range(2 if self._random.random() < self.repeated_share else 1):
            answer = await self._clients.until_known(url, body, headers, posted.answers, (202,))
            posted.events.add(answer.json()["event"])

    async def _accept(self, agent: str, offer: str) -> None:
        await self._command(agent, f"/v1/offers/{offer}/accept", {})

    async def _come_back(self, agent: str) -> None:
        """Whoever missed an offer is away until they do something."""
        await self._command(agent, f"/v1/agents/{agent}/sign-in", {"lease_s": 0})

    async def _handle(self, ticket: str, agent: str, channel: str) -> None:
        for n in range(1, REPLIES[channel] + 1):
            reply = await self._command(agent, f"/v1/tickets/{ticket}/reply", {"text": f"{ticket} answer {n}"})
            self.record.replies.setdefault(ticket, []).append(reply)
        await self._command(agent, f"/v1/tickets/{ticket}/resolve", {"text": "done"})

    async def _command(self, agent: str, path: str, body: Json) -> Commanded:
        commanded = Commanded(agent, path, body)
        self.record.commands.append(commanded)
        headers = {
            "Authorization": f"Bearer {self._clients.keys['admin']}",
            "Kefu-Agent": agent,
            "Idempotency-Key": f"{self.record.run}-{len(self.record.commands)}",
        }
        url = self._clients.urls["routing"] + path
        answer = await self._clients.until_known(url, body, headers, commanded.answers, (200, 204, 409))
        commanded.answer = answer.json() if answer.content else {}
        return commanded

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)


def _contact(run: str, number: int, story: Story) -> Json:
    """Each interaction has a contact of its own, so that none joins another's ticket."""
    if story.is_message:
        return {"name": f"contact {number}", "phone": f"+86137{int(run, 16) % 10_000:04}{number:04}"}
    return {"name": f"contact {number}", "email": f"{run}-{number}@example.com"}


@asynccontextmanager
async def working(stack: StackFile, seed: int, agents: Sequence[str] = AGENTS) -> AsyncIterator[Load]:
    """A load whose streams are open, with these agents signed in."""
    async with Clients(stack) as clients:
        load = Load(clients, seed, agents)
        both = [asyncio.Event(), asyncio.Event()]
        complaints = load.record.complaints
        readers = [
            clients.follow("outbound", clients.keys["adapter"], load.take_instruction, both[0], complaints),
            clients.follow("tickets", clients.keys["admin"], load.take_event, both[1], complaints),
        ]
        tasks = [asyncio.create_task(reader) for reader in readers]
        try:
            async with asyncio.timeout(60):
                await asyncio.gather(*(opened.wait() for opened in both))
                await load.sign_in()
            yield load
            await load.sign_out()
        finally:
            await load.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
