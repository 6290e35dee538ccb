"""Several routing processes on one database, and agents who answer on whichever of them they reach."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from kefu_common.kafka.producer import EventProducer
from tests.conftest import World
from tests.routing.service import Json, Routing, until


@asynccontextmanager
async def a_process(world: World, slot: int, port: int, log: Path) -> AsyncIterator[Process]:
    """One routing process, ready; told to stop at the end unless it was killed."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("kefu"),
            *("routing", "serve", "--port", str(port)),
            env={**os.environ, **world.env("routing"), "KEFU_SLOT": str(slot)},
            stderr=output,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool | None:
                try:
                    return (await client.get("/readyz")).status_code == 200 or None
                except httpx.TransportError:
                    return None

            await until("the process is ready", ready, 60)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


@asynccontextmanager
async def reaching(world: World, ports: Sequence[int]) -> AsyncIterator[list[Routing]]:
    """The processes at these ports, whether they run already or not."""
    producer = EventProducer(world.kafka, "test")
    async with AsyncExitStack() as opened:
        await producer.start()
        opened.push_async_callback(producer.stop)
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        clients = [await opened.enter_async_context(httpx.AsyncClient(base_url=a, timeout=20)) for a in addresses]
        yield [Routing(world, client, producer, None) for client in clients]


class Floor:
    """Agents at work, on whichever process answers."""

    def __init__(self, services: list[Routing], agents: Iterable[str], dice: random.Random) -> None:
        self.services, self.agents, self.dice = services, sorted(agents), dice
        self.is_open = True

    @property
    def any(self) -> Routing:
        return self.dice.choice(self.services)

    async def ask(self, method: str, path: str, body: Any, agent: str) -> Json | None:
        """Of a process that may be killed at this moment: None without an answer, and when it is refused."""
        try:
            answer = await self.any.raw(method, path, body, agent=agent)
        except httpx.TransportError:
            return None
        assert answer.status_code in (200, 409, 503), f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json()
        return found if answer.status_code == 200 else None

    async def answer_offers(self, agent: str) -> list[Json]:
        offers = await self.ask("GET", f"/v1/agents/{agent}/offers", None, agent)
        taken: list[Json] = []
        for offer in (offers or {"items": []})["items"]:
            luck = self.dice.random()
            if luck < 0.1:
                await self.ask("POST", f"/v1/offers/{offer['id']}/decline", {}, agent)
            elif luck < 0.2:
                other = self.dice.choice(self.agents)
                assert other == agent or await self.ask("POST", f"/v1/offers/{offer['id']}/accept", {}, other) is None
            elif luck < 0.9:
                ticket = await self.ask("POST", f"/v1/offers/{offer['id']}/accept", {}, agent)
                taken += [ticket] if ticket is not None else []
        return taken
