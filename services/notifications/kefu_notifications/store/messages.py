"""Messages to people: intents, leased attempts, results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kefu_common.events.words import Medium, Occasion
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_common.postgres.database import Reader as DbReader
from kefu_notifications.domain.planning import Reason, State
from kefu_notifications.domain.sending import LEASE_S, Next


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person, as it is stored."""

    id: UUID
    account: str
    site: str
    """Empty for what belongs to none."""
    ticket: UUID | None
    agent: str | None
    reply: UUID | None
    occasion: Occasion
    medium: Medium
    recipient: str | None
    subject: str | None
    body: str
    sealed: str | None
    """The link of a mail that carries one; it is opened for the mail only."""
    signature: str | None
    segments: int
    cost_fen: int
    is_charged: bool
    state: State
    reason: Reason | None
    attempts: int
    due_at: datetime
    give_up_at: datetime
    fence: int
    is_open: bool
    is_forced: bool
    happened_at: datetime
    provider_id: str | None
    traceparent: str | None
    thread: list[str]
    planned_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """An intent to be recorded; `reason` is set when it failed from the start."""

    account: str
    event: UUID
    happened_at: datetime
    site: str
    ticket: UUID | None
    contact: UUID | None
    agent: str | None
    reply: UUID | None
    occasion: Occasion
    medium: Medium
    recipient: str | None
    subject: str | None
    body: str
    sealed: str | None
    signature: str | None
    segments: int
    state: State
    reason: Reason | None
    give_up_at: datetime
    traceparent: str | None
    thread: list[str]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was decided about a taken message before its attempt."""

    id: UUID
    state: State
    reason: Reason | None
    signature: str | None
    segments: int
    cost_fen: int
    is_charged: bool


_NEW = (
    "id uuid, account text, event uuid, happened_at timestamptz, site text, ticket uuid, contact uuid, agent text,"
    " reply uuid, occasion text, medium text, recipient text, subject text, body text, sealed text, signature text,"
    " segments integer, state text, reason text, give_up_at timestamptz, traceparent text,"
    " thread text[]"
)
_NEW_NAMES = ", ".join(column.split()[0] for column in _NEW.split(","))

_TAKE = f"""
with due as (
    select id from messages
    where medium = $1 and state in ('planned', 'sending') and due_at <= now()
    order by due_at limit $2
    for update skip locked
)
update messages m
set state = 'sending', fence = m.fence + 1, attempts = m.attempts + 1,
    due_at = now() + make_interval(secs => {LEASE_S}), updated_at = now()
from due where m.id = due.id
returning m.*
"""

_SETTLE = """
update messages m
set state = s.state, reason = s.reason, signature = s.signature, segments = s.segments, cost_fen = s.cost_fen,
    is_charged = s.is_charged,
    is_open = m.is_open or s.state = 'sending',
    attempts = m.attempts - case when s.state = 'sending' then 0 else 1 end
from jsonb_to_recordset($1::jsonb) s (id uuid, state text, reason text, signature text, segments integer,
    cost_fen integer, is_charged boolean)
where m.id = s.id
"""

_RECORD = """
update messages m
set state = r.state, reason = r.reason, due_at = r.due_at, is_open = r.is_open,
    attempts = m.attempts - case when r.was_tried then 0 else 1 end,
    provider_id = coalesce(r.provider_id, m.provider_id),
    sent_at = case when r.state = 'sent' then now() else m.sent_at end, updated_at = now()
from jsonb_to_recordset($1::jsonb) r (id uuid, fence bigint, state text, reason text, due_at timestamptz,
    is_open boolean, was_tried boolean, provider_id text)
where m.id = r.id and m.fence = r.fence and m.state = 'sending'
returning m.id
"""


async def add(tx: Connection, messages: Sequence[NewMessage]) -> list[Message]:
    """Record intents; they are due at once."""
    if not messages:
        return []
    rows = await tx.fetch(
        f"insert into messages ({_NEW_NAMES}) select {_NEW_NAMES} from jsonb_to_recordset($1::jsonb) n ({_NEW})"
        " returning *",
        [{"id": new_id(), **_fields(m)} for m in messages],
    )
    return [message_of(row) for row in rows]


async def take(tx: Connection, medium: Medium, limit: int) -> list[Message]:
    """Lease up to so many due messages, those planned first in front; a lease that ran out is due too.

    Its `is_open` says whether an earlier attempt's result is unknown. `settle` each in the same transaction.
    """
    rows = await tx.fetch(_TAKE, medium.value, limit)
    return sorted(map(message_of, rows), key=lambda m: (m.planned_at, m.id))


async def settle(tx: Connection, settled: Sequence[Settled]) -> None:
    """Note what was decided about messages taken in this transaction: those to be sent are open from now on."""
    await tx.execute(_SETTLE, [_fields(s) for s in settled])


async def record(tx: Connection, results: Sequence[tuple[Message, Next, str | None]]) -> set[UUID]:
    """Note attempts' results and providers' ids; returns those that were still ours to note."""
    rows = await tx.fetch(
        _RECORD,
        [
            {"id": message.id, "fence": message.fence, "provider_id": provider_id, **_fields(following)}
            for message, following, provider_id in results
        ],
    )
    return {row["id"] for row in rows}


async def release_held(
    tx: Connection, account: str, reason: Reason, oldest: datetime, give_up_at: datetime
) -> list[Message]:
    """Plan anew what was held for this reason and happened since `oldest`."""
    rows = await tx.fetch(
        "update messages set state = 'planned', reason = null, due_at = now(), give_up_at = $4, updated_at = now()"
        " where account = $1 and state = 'held' and reason = $2 and happened_at >= $3 returning *",
        account,
        reason.value,
        oldest,
        give_up_at,
    )
    return [message_of(row) for row in rows]


async def plan_again(tx: Connection, id: UUID, give_up_at: datetime) -> Message:
    """A person asked for another attempt, in spite of its age."""
    row = await tx.fetchrow(
        "update messages set state = 'planned', reason = null, attempts = 0, due_at = now(), give_up_at = $2,"
        " is_forced = true, updated_at = now() where id = $1 returning *",
        id,
        give_up_at,
    )
    assert row is not None
    return message_of(row)


async def forget_links(tx: Connection, before: datetime) -> None:
    """Forget the links of messages that happened before: they open nothing any more."""
    await tx.execute("update messages set sealed = null where sealed is not null and happened_at < $1", before)


async def find(
    db: DbReader, account: str, id: UUID, sites: Sequence[str] | None, *, for_update: bool = False
) -> Message | None:
    """One message of an account, on one of the sites (None: on any)."""
    lock = " for update" if for_update else ""
    row = await db.fetchrow(
        f"select * from messages where id = $1 and account = $2 and ($3::text[] is null or site = any($3)){lock}",
        id,
        account,
        sites,
    )
    return None if row is None else message_of(row)


async def page(
    db: DbReader,
    account: str,
    sites: Sequence[str] | None,
    ticket: UUID | None,
    state: State | None,
    before: UUID | None,
    limit: int,
) -> list[Message]:
    """An account's messages, newest first, older than `before`."""
    rows = await db.fetch(
        "select * from messages where account = $1 and ($2::text[] is null or site = any($2))"
        " and ($3::uuid is null or ticket = $3) and ($4::text is null or state = $4)"
        " and ($5::uuid is null or id < $5) order by id desc limit $6",
        account,
        sites,
        ticket,
        None if state is None else state.value,
        before,
        limit,
    )
    return [message_of(row) for row in rows]


def message_of(row: asyncpg.Record) -> Message:
    """A row of `messages`."""
    enums = {
        "occasion": Occasion(row["occasion"]),
        "medium": Medium(row["medium"]),
        "state": State(row["state"]),
        "reason": None if row["reason"] is None else Reason(row["reason"]),
    }
    return Message(**{name: enums.get(name, row[name]) for name in Message.__slots__})


def _fields(value: NewMessage | Settled | Next) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}
