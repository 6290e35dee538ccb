"""Reading lists of tickets and their history."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Reader
from kefu_routing.domain.model import Ticket
from kefu_routing.store.tickets import COLUMNS, ticket_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tickets: None means any."""

    account: str
    sites: list[str] | None
    status: str | None
    group: str | None
    handler: str | None
    contact: UUID | None
    interaction: str | None


async def tickets(tx: Reader, wanted: Wanted, before: UUID | None, limit: int) -> list[Ticket]:
    """The newest tickets that match, below the one that the caller has."""
    rows = await tx.fetch(
        f"select {COLUMNS} from tickets where account = $1 and ($2::text[] is null or site = any($2))"
        ' and ($3::text is null or status = $3) and ($4::text is null or "group" = $4)'
        " and ($5::text is null or handler = $5) and ($6::uuid is null or contact = $6)"
        " and ($7::text is null or id in (select ticket from interactions where account = $1 and id = $7))"
        " and ($8::uuid is null or id < $8) order by id desc limit $9",
        wanted.account,
        wanted.sites,
        wanted.status,
        wanted.group,
        wanted.handler,
        wanted.contact,
        wanted.interaction,
        before,
        limit,
    )
    return [ticket_of(row) for row in rows]


async def history(tx: Reader, ticket: UUID, after: int, limit: int) -> list[asyncpg.Record]:
    """A ticket's events (sequence, type, at, data, why) above a sequence number."""
    return await tx.fetch(
        "select sequence, type, at, data, why from history where ticket = $1 and sequence > $2"
        " order by sequence limit $3",
        ticket,
        after,
        limit,
    )
