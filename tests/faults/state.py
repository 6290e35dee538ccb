"""What a load left behind: read from routing's tables, Kafka, the sink and the report, once nothing moves any more."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import BaseModel

from kefu_common.events.envelope import read_event
from kefu_common.events.outbound import OUTBOUND_MODELS
from kefu_common.events.tickets import TICKET_MODELS
from kefu_common.kafka import topics
from kefu_local.credentials import SERVICES_WITH_DATABASE
from kefu_local.stack import StackFile
from tests.e2e.kefu import Json, until
from tests.faults.record import Record

D = TypeVar("D", bound=BaseModel)
MEASURES = ("opened", "answered", "abandoned", "refused", "resolved", "messages_left")


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A ticket as routing's table has it."""

    id: str
    interaction: str
    status: str
    handler: str | None
    sequence: int


@dataclass(frozen=True, slots=True)
class Said:
    """A row of a conversation."""

    ticket: str
    origin: str
    text: str


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer."""

    ticket: str
    agent: str
    status: str
    is_current: bool
    """Whether its ticket names it, and is `offered`."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An event on Kafka, or a row of the history (which has no id); only a ticket's event has a sequence."""

    id: str
    sequence: int
    type: str


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the checks look at, of one load only where it can be told apart."""

    tickets: list[TicketRow]
    messages: list[Said]
    """In the order in which the API shows them."""
    history: dict[str, list[Logged]]
    log: dict[str, list[Logged]]
    """By ticket, in Kafka's order, repeats included."""
    instructions: dict[str, list[Logged]]
    """On `kefu.outbound.v1`, by interaction, in Kafka's order, repeats included."""
    inbox: set[str]
    """The ids of the load's events that routing has recorded."""
    offers: list[Offered]
    outboxes: dict[str, int]
    dead: list[str]
    sunk: list[Json]
    report: Counter[str]


@dataclass(frozen=True, slots=True)
class Before:
    """What was there when the load began."""

    dead: int
    report: Counter[str]


async def before(stack: StackFile) -> Before:
    """To be taken when nothing moves."""
    return Before(len(await _dead(stack["kafka"])), await _report(stack))


async def until_quiet(stack: StackFile, within_s: float) -> None:
    """Return when every consumer has read to the end, and nothing waits in an outbox or to be sent."""

    async def is_quiet() -> bool:
        waiting = Counter(await _outboxes(stack))
        async with _connected(stack, "notifications") as db:
            waiting["to be sent"] = await db.fetchval(
                "select count(*) from messages where state in ('planned', 'sending')"
            )
        waiting["lag"] = await _lag(stack["kafka"])
        return not any(waiting.values())

    await until("every consumer is at the end, and every outbox empty", is_quiet, within_s)


async def until_handled(stack: StackFile, record: Record, within_s: float) -> None:
    """Return when no ticket of the load that agents should handle is open any more, as routing says."""
    wanted = [i for i, story in record.stories.items() if story.is_handled]

    async def is_done() -> bool:
        async with _connected(stack, "routing") as db:
            done = await db.fetchval(
                "select count(*) from tickets where interaction = any($1::text[]) and status = 'resolved'", wanted
            )
        return bool(done >= len(wanted))

    await until(f"{len(wanted)} interactions are handled", is_done, within_s)


async def agents_states(stack: StackFile) -> Counter[tuple[str, str | None]]:
    """How many agents are in which state, and why: what tells a queue that nobody serves from one that is stuck."""
    async with _connected(stack, "routing") as db:
        return Counter((row["state"], row["reason"]) for row in await db.fetch("select state, reason from seats"))


async def collect(stack: StackFile, record: Record, began: Before) -> State:
    """Everything that the load left behind."""
    async with _connected(stack, "routing") as db:
        mine = list(record.stories)
        rows = await db.fetch(
            "select id::text, interaction, status, handler, sequence from tickets"
            " where interaction = any($1::text[]) order by id",
            mine,
        )
        tickets = [TicketRow(**row) for row in rows]
        ids = [t.id for t in tickets]
        said = await db.fetch(
            'select ticket::text, "from" as origin, text from messages where ticket = any($1::uuid[]) order by id', ids
        )
        happened = await db.fetch(
            "select ticket::text, sequence, type from history where ticket = any($1::uuid[]) order by ticket, sequence",
            ids,
        )
        offers = await db.fetch(
            "select o.ticket::text, o.agent, o.status, o.id = t.offer and t.status = 'offered' is true as is_current"
            " from offers o join tickets t on t.id = o.ticket where t.id = any($1::uuid[])",
            ids,
        )
        posted = [event for of in record.posts.values() for p in of for event in p.events]
        inbox = await db.fetch("select event::text from inbox where event = any($1::uuid[])", posted)
    history: dict[str, list[Logged]] = {}
    for row in happened:
        history.setdefault(row["ticket"], []).append(Logged("", row["sequence"], row["type"]))
    log = await _log(stack["kafka"], topics.TICKETS.name, TICKET_MODELS)
    instructions = await _log(stack["kafka"], topics.OUTBOUND.name, OUTBOUND_MODELS)
    return State(
        tickets=tickets,
        messages=[Said(**row) for row in said],
        history=history,
        log={ticket: log.get(ticket, []) for ticket in ids},
        instructions={interaction: instructions.get(interaction, []) for interaction in mine},
        inbox={row["event"] for row in inbox},
        offers=[Offered(r["ticket"], r["agent"], r["status"], bool(r["is_current"])) for r in offers],
        outboxes=await _outboxes(stack),
        dead=(await _dead(stack["kafka"]))[began.dead :],
        sunk=await _sunk(stack),
        report=Counter({name: now - began.report[name] for name, now in (await _report(stack)).items()}),
    )


@asynccontextmanager
async def _connected(stack: StackFile, service: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(stack["postgres"][service], timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


async def _outboxes(stack: StackFile) -> dict[str, int]:
    found = {}
    for service in SERVICES_WITH_DATABASE:
        async with _connected(stack, service) as db:
            found[service] = await db.fetchval("select count(*) from outbox")
    return found


async def _lag(bootstrap: str) -> int:
    """How many records the services' consumer groups, named `kefu.<service>.<topic>`, have not acknowledged."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await reader.start()
    try:
        lag = 0
        for group, *_ in await admin.list_consumer_groups():
            topic = f"kefu.{group.split('.', 2)[2]}"
            ends = await reader.end_offsets([TopicPartition(topic, p) for p in range(topics.TICKETS.partitions)])
            read = await admin.list_consumer_group_offsets(group)
            lag += sum(end - (max(0, read[tp].offset) if tp in read else 0) for tp, end in ends.items())
        return lag
    finally:
        await reader.stop()
        await admin.close()


async def _records(bootstrap: str, names: Iterable[str]) -> AsyncIterator[Any]:
    """Everything on these topics, in order per partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for topic in names for p in range(12)]
        ends = {tp: end for tp, end in (await consumer.end_offsets(places)).items() if end > 0}
        consumer.assign(list(ends))
        while ends:
            async with asyncio.timeout(30):
                batches = await consumer.getmany(timeout_ms=500)
            for tp, records in batches.items():
                for record in records:
                    yield record
                if records and records[-1].offset + 1 >= ends.get(tp, 0):
                    ends.pop(tp, None)
    finally:
        await consumer.stop()


async def _log(bootstrap: str, topic: str, models: dict[str, type[D]]) -> dict[str, list[Logged]]:
    log: dict[str, list[Logged]] = {}
    async for record in _records(bootstrap, [topic]):
        event = read_event(record.value, models)
        log.setdefault(event.subject, []).append(Logged(str(event.id), event.sequence or 0, event.type))
    return log


async def _dead(bootstrap: str) -> list[str]:
    names = [topics.dead_letters_of(service).name for service in ("intake", *SERVICES_WITH_DATABASE)]
    found = []
    async for record in _records(bootstrap, names):
        found.append((record.timestamp, f"{record.topic} {record.key!r} {dict(record.headers)}"))
    return [letter for _, letter in sorted(found)]


async def _sunk(stack: StackFile) -> list[Json]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await client.get(f"{stack['sink']}/messages", params={"limit": 10_000})
    found: list[Json] = answer.raise_for_status().json()["items"]
    return found


async def _report(stack: StackFile) -> Counter[str]:
    """The sums of yesterday and today, so that a midnight in between does no harm."""
    sums: Counter[str] = Counter()
    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()
    headers = {"Authorization": f"Bearer {stack['keys']['admin']}"}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for day in (today - timedelta(days=1), today):
            url = f"{stack['services']['reporting']}/v1/reports/daily?date={day}"
            totals = (await client.get(url, headers=headers)).raise_for_status().json()["totals"]
            sums.update({name: totals[name] for name in MEASURES})
    return sums
