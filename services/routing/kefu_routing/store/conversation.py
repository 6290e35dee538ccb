"""Conversation texts: what was said on a ticket, and what became of replies."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import asyncpg

from kefu_common.events.words import Auto
from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.model import Message


async def by_id(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Message]:
    """Messages by id."""
    rows = await tx.fetch(f"{_SELECT} where id = any($1::uuid[])", list(ids))
    return {row["id"]: _message(row) for row in rows}


async def of_id(tx: Reader, ticket: UUID, id: UUID) -> Message | None:
    """One message of a ticket."""
    row = await tx.fetchrow(f"{_SELECT} where ticket = $1 and id = $2", ticket, id)
    return None if row is None else _message(row)


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


async def notes(tx: Reader, ids: Iterable[str]) -> dict[str, str]:
    """The texts of notes, by id."""
    rows = await tx.fetch("select id::text, text from notes where id = any($1::uuid[])", list(ids))
    return {row["id"]: row["text"] for row in rows}


_SELECT = (
    'select id, account, ticket, at, "from" as origin, text, agent, subject, html, attachments, state, auto,'
    " interaction from messages"
)


def _message(row: asyncpg.Record) -> Message:
    values = dict(row)
    values["auto"] = None if row["auto"] is None else Auto(row["auto"])
    return Message(**values)
