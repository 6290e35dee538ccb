"""The service as a real process, and what surrounds it: the directory, Kafka, providers, streams."""

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
from aiokafka import AIOKafkaConsumer

from kefu_common.events.directory import DirectoryEntry
from kefu_common.events.envelope import Event
from kefu_common.events.messages import ContactAddress, MessageWanted
from kefu_common.events.outbound import ChatSay, Instruction
from kefu_common.events.tickets import TicketData, TicketQueued
from kefu_common.events.words import Channel, Occasion, TicketKind, TicketStatus
from kefu_common.http.auth import SCOPES, hash_key
from kefu_common.ids import new_id
from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_common.kafka.topics import DELIVERIES, DIRECTORY, MESSAGES, OUTBOUND, TICKETS, Topic
from tests.conftest import World
from tests.notifications.sink import Sink

T = TypeVar("T")
OPERATOR = {"Authorization": "Bearer operator-key"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(look: Callable[[], Awaitable[T]], within_s: float = 15.0) -> T:
    """The first true answer of `look`; fails when there is none in time."""
    ends_at = time.monotonic() + within_s
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < ends_at, f"not within {within_s} s; the last look gave {found!r}"
        await asyncio.sleep(0.05)


@dataclass
class Company:
    """An account of its own for one test."""

    id: str
    key: str
    email: str
    phone: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@dataclass
class Process:
    """`kefu notifications serve`, as it would be deployed."""

    env: dict[str, str]
    port: int
    log: Path
    child: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, ready: bool = True) -> None:
        kefu = str(Path(sys.executable).with_name("kefu"))
        with self.log.open("ab") as output:
            self.child = await asyncio.create_subprocess_exec(
                *(kefu, "notifications", "serve", "--port", str(self.port)),
                env={**os.environ, **self.env},
                stdout=output,
                stderr=output,
            )
        await until(self._is_ready if ready else self._is_alive, 30)

    async def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        await self.child.wait()

    async def stop(self) -> int:
        """Asks it to end; its exit code."""
        assert self.child is not None
        if self.child.returncode is None:
            self.child.terminate()
        async with asyncio.timeout(30):
            return await self.child.wait()

    def resident_kb(self) -> int:
        assert self.child is not None
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    async def _is_ready(self) -> bool:
        return await self._answers("/readyz")

    async def _is_alive(self) -> bool:
        return await self._answers("/healthz")

    async def _answers(self, path: str) -> bool:
        assert self.child is not None
        assert self.child.returncode is None, self.log.read_text()[-3000:]
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(self.url + path)).status_code == 200
            except httpx.TransportError:
                return False


@dataclass
class Stack:
    """One notifications process with its Kafka, its database and its providers."""

    world: World
    sink: Sink
    process: Process
    producer: EventProducer
    http: httpx.AsyncClient
    versions: dict[str, int] = field(default_factory=dict)

    async def a_company(self, short_name: str = "小店", *, signature: str | None = None) -> Company:
        """An account with one administrator, an ordinary agent, and an admin key."""
        id = f"acc-{secrets.token_hex(4)}"
        phone = f"+86138{secrets.randbelow(10**8):08}"
        company = Company(id, secrets.token_urlsafe(16), f"admin@{id}.example", phone)
        await self.directory(id, "account", id, {"id": id, "short_name": short_name})
        admin = {"id": "admin", "name": "管理员", "email": company.email, "phone": phone, "roles": ["administrator"]}
        await self.directory(id, "agent", "admin", admin)
        await self.directory(id, "agent", "a01", {"id": "a01", "name": "坐席", "email": f"a01@{id}.example"})
        await self.a_key(company, "admin", SCOPES, secret=company.key)
        if signature is not None:
            answer = await self.http.put("/v1/settings", json={"signature": signature}, headers=company.auth)
            assert answer.status_code == 200, answer.text
        return company

    async def a_key(
        self,
        company: Company,
        id: str,
        scopes: Iterable[str],
        *,
        adapter: str | None = None,
        sites: list[str] | None = None,
        secret: str | None = None,
    ) -> dict[str, str]:
        """An API key that is in force when this returns, as headers."""
        secret = secret or secrets.token_urlsafe(16)
        body = {"id": id, "scopes": list(scopes), "adapter": adapter, "sites": sites, "hash": hash_key(secret)}
        await self.directory(company.id, "key", id, body)
        headers = {"Authorization": f"Bearer {secret}"}

        async def is_known() -> bool:
            return (await self.http.get("/v1/settings", headers=headers)).status_code != 401

        await until(is_known)
        return headers

    async def directory(self, account: str, kind: str, id: str, body: dict[str, Any] | None) -> None:
        key = f"{account}/{kind}/{id}"
        self.versions[key] = version = self.versions.get(key, 0) + 1
        data = DirectoryEntry(kind=kind, object_id=id, version=version, deleted=body is None, body=body)
        await self.publish(DIRECTORY, key, an_event("kefu.directory.changed", account, key, data))

    async def publish(self, topic: Topic, key: str, *events: Event[Any]) -> None:
        records = [Outgoing(self.world.prefix + topic.name, key.encode(), e.to_bytes()) for e in events]
        await self.producer.send(records, 10)

    async def want(self, event: Event[MessageWanted]) -> UUID:
        """Publishes `message.wanted`; the ticket."""
        assert event.data.ticket is not None
        await self.publish_wanted(event)
        return event.data.ticket

    async def publish_wanted(self, event: Event[MessageWanted]) -> None:
        await self.publish(MESSAGES, str(event.data.ticket or event.account), event)

    async def say(self, *events: Event[Instruction]) -> None:
        for event in events:
            await self.publish(OUTBOUND, f"{event.account}/{event.subject}", event)

    async def happen(self, *events: Event[TicketData]) -> None:
        for event in events:
            await self.publish(TICKETS, event.subject, event)

    async def messages(self, company: Company, ticket: UUID, **wanted: str) -> list[dict[str, Any]]:
        answer = await self.http.get("/v1/messages", params={"ticket": str(ticket)}, headers=company.auth)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return [m for m in items if all(m[name] == value for name, value in wanted.items())]

    async def message(self, company: Company, ticket: UUID, within_s: float = 15.0, **wanted: str) -> dict[str, Any]:
        """The one message of a ticket that is as wanted, once it is."""
        (found,) = await until(lambda: self.messages(company, ticket, **wanted), within_s)
        return found

    async def deliveries(self, message: str, last: str) -> list[dict[str, Any]]:
        """A message's delivery events, up to the first of the type `last`."""
        consumer = AIOKafkaConsumer(
            self.world.prefix + DELIVERIES.name,
            bootstrap_servers=self.world.kafka,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        found: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(15):
                async for record in consumer:
                    event = json.loads(record.value)
                    if event["subject"] == message:
                        found.append(event)
                        if event["type"] == last:
                            return found
        finally:
            await consumer.stop()
        raise AssertionError("the topic ended")

    async def metric(self, line: str) -> float:
        """The value of a metric's line, 0 when there is none."""
        text = (await self.http.get("/metrics")).text
        return sum(float(found.rsplit(" ", 1)[1]) for found in text.splitlines() if found.startswith(line + " "))

    @asynccontextmanager
    async def stream(
        self, headers: dict[str, str], feed: str, mark: str | int | None = None
    ) -> AsyncIterator["StreamReader"]:
        if mark is not None:
            headers = {**headers, "Last-Event-ID": str(mark)}
        async with self.http.stream(
            "GET", "/v1/stream", params={"feed": feed}, headers=headers, timeout=None
        ) as answer:
            if answer.status_code != 200:
                await answer.aread()
            yield StreamReader(answer)


@dataclass(frozen=True)
class Frame:
    id: str | None
    event: str | None
    data: dict[str, Any] | None


class StreamReader:
    """Reads server-sent events as the standard says."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.mark: str | None = None
        self._lines = answer.aiter_lines()

    async def frame(self, within_s: float = 10.0) -> Frame | None:
        """The next frame, be it only a mark or a comment; None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(within_s):
            async for line in self._lines:
                if not line:
                    self.mark = fields.get("id", self.mark)
                    data = json.loads(fields["data"]) if "data" in fields else None
                    return Frame(fields.get("id"), fields.get("event"), data)
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        return None

    async def started(self) -> str:
        """The mark from which the stream begins."""
        frame = await self.frame()
        assert frame is not None
        assert frame.data is None
        assert frame.id is not None
        return frame.id

    async def take(self, count: int, within_s: float = 10.0) -> list[Frame]:
        """The next so many events."""
        found: list[Frame] = []
        async with asyncio.timeout(within_s):
            while len(found) < count:
                frame = await self.frame(within_s)
                assert frame is not None, f"the stream ended after {len(found)} of {count} events"
                if frame.data is not None:
                    found.append(frame)
        return found


def an_event(type: str, account: str, subject: str, data: Any, site: str = "shop", **more: Any) -> Event[Any]:
    time_ = more.pop("time", datetime.now(UTC))
    return Event(new_id(), type, f"/sites/{site}", subject, time_, account, data, **more)


def an_offline_message(account: str, text: str = "烤箱坏了", **more: Any) -> Event[MessageWanted]:
    data = MessageWanted(
        occasion=Occasion.OFFLINE_MESSAGE,
        ticket=more.pop("ticket", new_id()),
        contact=new_id(),
        channel=Channel.MESSAGE,
        roles=["administrator"],
        text=text,
        name="王芳",
        reachable="13800138000",
    )
    return an_event("kefu.message.wanted", account, str(data.ticket), data, **more)


def a_reply(
    account: str, to: ContactAddress, text: str = "明天上门", subject: str | None = None
) -> Event[MessageWanted]:
    data = MessageWanted(
        occasion=Occasion.REPLY,
        ticket=new_id(),
        contact=new_id(),
        channel=Channel.EMAIL,
        to=to,
        agent="a01",
        message=new_id(),
        text=text,
        subject=subject,
    )
    return an_event("kefu.message.wanted", account, str(data.ticket), data)


def a_reset(account: str, sealed: str, agent: str = "a01", **more: Any) -> Event[MessageWanted]:
    data = MessageWanted(occasion=Occasion.PASSWORD_RESET, agent=agent, text=sealed)
    return replace(an_event("kefu.message.wanted", account, agent, data, **more), source="/people")


def an_instruction(
    account: str, text: str, *, adapter: str | None = "web", site: str = "shop", lasts_s: float = 600, chat: str = "c-1"
) -> Event[Instruction]:
    data = ChatSay(
        ticket=new_id(),
        contact=new_id(),
        channel=Channel.CHAT,
        expires_at=datetime.now(UTC) + timedelta(seconds=lasts_s),
        text=text,
        staff="auto",
    )
    return an_event("kefu.chat.say", account, chat, data, site=site, adapter=adapter)


def a_ticket_event(account: str, ticket: UUID, sequence: int, site: str = "shop") -> Event[TicketData]:
    data = TicketQueued(
        site=site,
        time_zone="Asia/Shanghai",
        channel=Channel.CHAT,
        kind=TicketKind.CONSULTATION,
        contact=new_id(),
        priority=5,
        status=TicketStatus.QUEUED,
        opened_at=datetime.now(UTC),
        cause="new",
    )
    return an_event("kefu.ticket.queued", account, str(ticket), data, site=site, sequence=sequence)


async def a_stack(world: World, folder: Path, **settings: str) -> Stack:
    """A stack that runs and is ready."""
    sink = Sink()
    await sink.start()
    env = {
        **world.env("notifications"),
        "KEFU_SMTP": f"127.0.0.1:{sink.smtp_port}",
        "KEFU_SMS_URL": f"http://127.0.0.1:{sink.sms_port}/sms",
        "KEFU_RETRY_BASE_S": "0.1",
        **settings,
    }
    process = Process(env, free_port(), folder / f"{world.prefix}log")
    producer = EventProducer(world.kafka, "test")
    await producer.start()
    stack = Stack(world, sink, process, producer, httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=20))
    await process.start()
    return stack


async def end(stack: Stack) -> int:
    """Stops it all; the service's exit code."""
    await stack.http.aclose()
    code = await stack.process.stop()
    await stack.producer.stop()
    await stack.sink.stop()
    return code
