"""Reading lists of tickets and their history."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from kefu_common.events.words import TicketStatus
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
    unattended: bool


async def tickets(tx: Reader, wanted: Wanted, before: UUID | None, limit: int) -> list[Ticket]:
    """The newest tickets that match, below the one that the caller has.

    Only what is asked for stands in the statement, so that it can use the index that serves just that.
    """
    arguments: list[object] = [wanted.account, limit]

    def given(value: object) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    conditions = ["account = $1"]
    if wanted.sites is not None:
        conditions.append(f"site = any({given(wanted.sites)}::text[])")
    if wanted.status is not None:
        # Written out: an index serves one status only.
        conditions.append(f"status = '{TicketStatus(wanted.status).value}'")
    if wanted.group is not None:
        conditions.append(f'"group" = {given(wanted.group)}')
    if wanted.handler is not None:
        conditions.append(f"handler = {given(wanted.handler)}")
    if wanted.contact is not None:
        conditions.append(f"contact = {given(wanted.contact)}")
    if wanted.interaction is not None:
        place = given(wanted.interaction)
        conditions.append(f"id = any(array(select ticket from interactions where account = $1 and id = {place}))")
    if wanted.unattended:
        conditions.append("status = 'active' and unattended_since is not null")
    if before is not None:
        conditions.append(f"id < {given(before)}")
    rows = await tx.fetch(
        f"select {COLUMNS} from tickets where {' and '.join(conditions)} order by id desc limit $2", *arguments
    )
    return [ticket_of(row) for row in rows]


async def history(tx: Reader, ticket: UUID, before: int | None, limit: int) -> list[asyncpg.Record]:
    """A ticket's events (sequence, type, at, data, why), the newest first, below a sequence number."""
    return await tx.fetch(
        "select sequence, type, at, data, why from history where ticket = $1"
        " and ($2::integer is null or sequence < $2) order by sequence desc limit $3",
        ticket,
        before,
        limit,
    )
