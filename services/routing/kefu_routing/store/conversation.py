"""Conversation texts: what was said on a ticket, and what became of replies."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.model import Message


async def by_instruction(tx: Connection, instructions: Iterable[UUID]) -> dict[UUID, Message]:
    """The reply that each instruction carries."""
    wanted = list(instructions)
    if not wanted:
        return {}
    rows = await tx.fetch(f"{_SELECT} where instruction = any($1::uuid[])", wanted)
    return {row["instruction"]: _message(row) for row in rows}


async def by_id(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Message]:
    """Messages by id."""
    rows = await tx.fetch(f"{_SELECT} where id = any($1::uuid[])", list(ids))
    return {row["id"]: _message(row) for row in rows}


async def of_ticket(tx: Reader, ticket: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Message]:
    """A ticket's conversation, by when it was said, after the message that the caller has."""
    at, id = after or (None, None)
    rows = await tx.fetch(
        f"{_SELECT} where ticket = $1 and ($2::timestamptz is null or (at, id) > ($2, $3::uuid))"
        " order by at, id limit $4",
        ticket,
        at,
        id,
        limit,
    )
    return [_message(row) for row in rows]


async def notes_of_ticket(tx: Reader, ticket: UUID) -> list[asyncpg.Record]:
    """A ticket's notes (at, agent, text), oldest first; at most 1,000."""
    return await tx.fetch("select id, at, agent, text from notes where ticket = $1 order by id limit 1000", ticket)


_SELECT = (
    'select id, account, ticket, at, "from" as origin, text, agent, subject, html, attachments, state, instruction'
    " from messages"
)


def _message(row: asyncpg.Record) -> Message:
    return Message(**dict(row))
