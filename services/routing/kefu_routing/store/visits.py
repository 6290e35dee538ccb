"""The pages that contacts looked at (H-06)."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.model import Visit


async def add(tx: Connection, visits: Sequence[Visit]) -> None:
    """Keep what was seen."""
    if visits:
        await tx.execute(
            "insert into visits select * from jsonb_populate_recordset(null::visits, $1::jsonb)", list(visits)
        )


async def of_contact(
    tx: Reader, contact: UUID, sites: Sequence[str] | None, before: UUID | None, limit: int
) -> list[asyncpg.Record]:
    """A contact's visits on the sites (None: on any), newest first, older than the one that the caller has."""
    return await tx.fetch(
        "select id, site, at, interaction, source, page, referrer from visits where contact = $1"
        " and ($2::text[] is null or site = any($2)) and ($3::uuid is null or id < $3) order by id desc limit $4",
        contact,
        sites,
        before,
        limit,
    )


async def seen(tx: Reader, contact: UUID) -> asyncpg.Record:
    """How often the contact came, and when last: columns `visits` and `last_visit_at`."""
    row = await tx.fetchrow(
        "select count(*) as visits, max(at) as last_visit_at from visits where contact = $1", contact
    )
    assert row is not None
    return row
