"""The account that the bench works with: groups of agents with room for all, and chats spread over the groups."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg

from kefu_common.events.directory import (
    Account,
    Agent,
    ApiKey,
    Capacity,
    DirectoryEntry,
    DirectoryObject,
    Group,
    Kind,
    Plan,
    Site,
)
from kefu_common.events.envelope import Event
from kefu_common.events.interactions import ChatStarted, ContactClaim
from kefu_common.http.auth import hash_key
from kefu_common.ids import new_id
from kefu_common.kafka import topics
from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_common.postgres.database import Database
from kefu_routing.domain.changes import KEFU
from kefu_routing.store import directory, seats

ACCOUNT, SITE = "bench", "shop"
KEY = "kefu_bench_0123456789abcdefghijklmnopqrstuvwxyz"
GROUPS, AGENTS_PER_GROUP = 50, 20
FOR_CHATS = Capacity(call=0, chat=10_000, email=0)
FOR_EVERYTHING = Capacity(call=1, chat=10_000, email=5)
"""As an agent of a real account has it, but for the chats."""
_OFFER_S = 3600


def objects(capacity: Capacity = FOR_CHATS) -> Iterator[tuple[Kind, DirectoryObject]]:
    """The whole directory of the account. Offers do not lapse within a run."""
    yield "account", Account(id=ACCOUNT, short_name="Bench", licensed_seats=GROUPS * AGENTS_PER_GROUP)
    yield "site", Site(id=SITE, name="Shop")
    for agent in agents():
        yield "agent", Agent(id=agent, name=agent, capacity=capacity)
    for number in range(GROUPS):
        members = [_agent(number, n) for n in range(AGENTS_PER_GROUP)]
        yield (
            "group",
            Group(
                id=category(number),
                name=category(number),
                leader=members[0],
                agents=members,
                categories=[category(number)],
                sources=["*"],
                tiers=["*"],
            ),
        )
    names = [category(number) for number in range(GROUPS)]
    yield "plan", Plan(id=SITE, site=SITE, groups=names, offer_s={"chat": _OFFER_S, "call": _OFFER_S})
    yield "key", ApiKey(id="adapter", adapter="bench", scopes=["chats:write"], hash=hash_key(KEY))


def agents() -> list[str]:
    """All agents' ids."""
    return [_agent(group, n) for group in range(GROUPS) for n in range(AGENTS_PER_GROUP)]


def category(number: int) -> str:
    """The category, and the group that receives it, of the n-th chat."""
    return f"g{number % GROUPS:02}"


def _agent(group: int, number: int) -> str:
    return f"{category(group)}-a{number:02}"


async def put_into_database(dsn: str, *, publish: bool, capacity: Capacity = FOR_CHATS) -> None:
    """Make the account, and sign everybody in. `publish` leaves the directory's events for the relay."""
    db = Database(dsn, 2, "kefu-bench")
    await db.start()
    try:
        async with db.transaction() as tx:
            for kind, body in objects(capacity):
                if isinstance(body, Account):
                    await directory.add_account(tx, body, KEFU)
                else:
                    await directory.add(tx, ACCOUNT, kind, body, KEFU)
            for agent in agents():
                await seats.sign_in(tx, ACCOUNT, agent, 0)
            if not publish:
                await tx.execute("delete from outbox")
    finally:
        await db.stop()
    await _analyze(dsn)


async def _analyze(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


async def put_onto_topic(kafka: str, prefix: str) -> None:
    """Publish the account's directory as routing would, for a service that runs without routing."""
    producer = EventProducer(kafka, "kefu-bench")
    await producer.start()
    try:
        await producer.send([_entry(prefix, kind, body) for kind, body in objects()], 30)
    finally:
        await producer.stop()


def _entry(prefix: str, kind: Kind, body: DirectoryObject) -> Outgoing:
    key = f"{ACCOUNT}/{kind}/{body.id}"
    entry = DirectoryEntry(kind=kind, object_id=body.id, version=1, body=body.model_dump(mode="json"))
    event = Event(new_id(), "kefu.directory.changed", "/directory", key, datetime.now(UTC), ACCOUNT, entry)
    return Outgoing(prefix + topics.DIRECTORY.name, key.encode(), event.to_bytes())


async def put_chats(kafka: str, prefix: str, count: int) -> None:
    """Write so many `chat.started` onto the topic, as intake would."""
    producer = EventProducer(kafka, "kefu-bench", linger_ms=5)
    await producer.start()
    begin = datetime.now(UTC)
    try:
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            await producer.send([_chat_record(prefix, n, begin + timedelta(microseconds=n)) for n in numbers], 60)
    finally:
        await producer.stop()


def _chat_record(prefix: str, number: int, at: datetime) -> Outgoing:
    claim = ContactClaim(external_id=f"crm-{number}", name="王芳", phone=f"+86138{number:08}", tier="gold")
    data = ChatStarted(source="app/product-page", category=category(number), contact=claim, page="/p/x200")
    interaction = f"chat-{number:08}"
    source = f"/sites/{SITE}"
    event = Event(new_id(), "kefu.chat.started", source, interaction, at, ACCOUNT, data, adapter="bench")
    return Outgoing(prefix + topics.INTERACTIONS.name, f"{ACCOUNT}/{interaction}".encode(), event.to_bytes())


def chat_form(run: str, number: int, at: datetime) -> bytes:
    """The body of a post: one `chat.started` in the simple form, with ids of its own."""
    return json.dumps(
        {
            "id": f"{run}-{number}",
            "type": "chat.started",
            "site": SITE,
            "interaction": f"chat-{run}-{number}",
            "occurred_at": at.isoformat(timespec="microseconds"),
            "source": "app/product-page",
            "category": category(number),
            "contact": {
                "external_id": f"crm-{run}-{number}",
                "name": "王芳",
                "phone": f"+86138{number:08}",
                "email": f"w{run}{number}@example.com",
                "tier": "gold",
            },
            "data": {"page": "/products/x200"},
        },
        ensure_ascii=False,
    ).encode()


def a_run() -> str:
    """A short text that makes the ids of a run unlike those of any other."""
    return uuid.uuid4().hex[:8]
