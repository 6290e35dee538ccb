"""A running routing service of a test's own, with what tests need to feed and watch it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer
from fastapi import FastAPI
from pydantic import SecretStr

from kefu_common.events.envelope import Event
from kefu_common.events.interactions import INTERACTION_MODELS
from kefu_common.ids import derived_event_id
from kefu_common.kafka import topics
from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_routing.app import Process, create
from kefu_routing.settings import RoutingSettings
from tests.conftest import SEALING_KEY, World

T = TypeVar("T")
Connect = Callable[[str], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
"""Opens a connection to a service's schema."""
Json = dict[str, Any]
WAITS_FOR_A_LOCK = (
    "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)
"""Whether some transaction does."""


async def until(what: str, probe: Callable[[], Awaitable[T | None]], within_s: float = 20) -> T:
    """The first thing that `probe` finds; fails after the deadline."""
    deadline = time.monotonic() + within_s
    while (found := await probe()) is None:
        assert time.monotonic() < deadline, f"within {within_s:g} s: {what}"
        await asyncio.sleep(0.02)
    return found


class Routing:
    """Its HTTP, its topics and its tables, for the account `acme`."""

    app: FastAPI

    def __init__(self, world: World, http: httpx.AsyncClient, producer: EventProducer, process: Process | None) -> None:
        self.world, self.http, self.producer, self._process = world, http, producer, process
        self.admin = ""

    @property
    def process(self) -> Process:
        """What runs within the test's own process."""
        assert self._process is not None, "it is a process of its own"
        return self._process

    async def call(
        self, method: str, path: str, body: Any = None, agent: str | None = None, expect: int = 200, **headers: str
    ) -> Json:
        """A call with the admin's key."""
        answer = await self.raw(method, path, body, agent, **headers)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json() if answer.content else {}
        return found

    async def raw(
        self, method: str, path: str, body: Any = None, agent: str | None = None, **headers: str
    ) -> httpx.Response:
        """The plain answer."""
        sent = {"Authorization": f"Bearer {self.admin}"} | ({"Kefu-Agent": agent} if agent else {})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=body, headers=sent | named)

    async def set_up(self, agents: int = 2, seats: int = 10, **plan: Any) -> None:
        """An account with one site, one group and some agents."""
        operator = {"Authorization": "Bearer operator-key"}
        account = {"id": "acme", "short_name": "小店", "licensed_seats": seats}
        made = await self.http.post("/v1/accounts", json=account, headers=operator)
        assert made.status_code == 201, made.text
        self.admin = made.json()["keys"]["admin"]
        names = [f"a{n:02}" for n in range(1, agents + 1)]
        await self.call("POST", "/v1/sites", {"id": "shop", "name": "网店"}, expect=201)
        for name in names:
            await self.call("POST", "/v1/agents", {"id": name, "name": name, "phone": f"80{name[1:]}"}, expect=201)
        ticks = {"sources": ["*"], "tiers": ["*"]}
        group = {"id": "sales", "name": "售前", "leader": "a01", "agents": names, **ticks}
        await self.call("POST", "/v1/groups", group, expect=201)
        await self.call("POST", "/v1/plans", {"id": "shop", "site": "shop", "groups": ["sales"], **plan}, expect=201)

    async def sign_in(self, agent: str, lease_s: int = 0) -> None:
        await self.call("POST", f"/v1/agents/{agent}/sign-in", {"lease_s": lease_s}, agent=agent)

    async def tell(
        self, type: str, interaction: str, id: str | None = None, site: str = "shop", **data: Any
    ) -> Event[Any]:
        """An adapter's event, as intake would have written it."""
        at = data.pop("at", None) or datetime.now(UTC)
        model = INTERACTION_MODELS[f"kefu.{type}"](**data)
        event_id = derived_event_id("acme", site, type, id or f"{type}-{interaction}-{at.timestamp()}")
        event = Event(event_id, f"kefu.{type}", f"/sites/{site}", interaction, at, "acme", model, adapter="pbx")
        await self.tell_raw(f"acme/{interaction}", event.to_bytes())
        return event

    async def tell_raw(self, key: str, value: bytes) -> None:
        """Any bytes at all."""
        topic = self.world.prefix + topics.INTERACTIONS.name
        await self.producer.send([Outgoing(topic, key.encode(), value)], 10)

    async def ticket(self, interaction: str, status: str | None = None) -> Json:
        """The interaction's ticket, once it is there and has the status."""

        async def probe() -> Json | None:
            found = (await self.call("GET", f"/v1/tickets?interaction={interaction}"))["items"]
            return found[0] if found and status in (None, found[0]["status"]) else None

        return await until(f"a ticket of {interaction} that is {status}", probe)

    async def read(self, topic: topics.Topic, count: int) -> list[Any]:
        """The first records of a topic."""
        name = self.world.prefix + topic.name
        consumer = AIOKafkaConsumer(name, bootstrap_servers=self.world.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                return [await consumer.getone() for _ in range(count)]
        finally:
            await consumer.stop()


@asynccontextmanager
async def running(world: World, slot: str = "0", **chosen: Any) -> AsyncIterator[Routing]:
    """A routing process within the test's own, on real servers; `chosen` are further settings."""
    settings = RoutingSettings(
        kafka=world.kafka,
        topic_prefix=world.prefix,
        operator_key=SecretStr("operator-key"),
        postgres=SecretStr(world.dsns["routing"]),
        slot=slot,
        sealing_keys=SecretStr(SEALING_KEY),
        objects=world.objects,
        **chosen,
    )
    app = create(settings)
    producer = EventProducer(world.kafka, "test")
    await producer.start()
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://r") as http:
        process: Process = app.state.process

        async def ready() -> bool | None:
            return not process.not_ready() or None

        await until("routing is ready", ready, 60)
        service = Routing(world, http, producer, process)
        service.app = app
        yield service
    await producer.stop()
