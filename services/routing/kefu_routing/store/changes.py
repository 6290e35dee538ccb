"""The audit trail of the directory: who changed what."""

from collections.abc import Sequence

import asyncpg

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.changes import By, Change, without_secrets


async def keep(tx: Connection, account: str, changes: Sequence[Change], versions: Sequence[int], by: By) -> None:
    """Write down changes and the versions that they made."""
    await tx.execute(
        "insert into directory_changes (account, key, agent, kind, id, version, before, after)"
        " select $1, $2, $3, * from unnest($4::text[], $5::text[], $6::bigint[], $7::jsonb[], $8::jsonb[])",
        account,
        by.key,
        by.agent,
        [c.kind for c in changes],
        [c.id for c in changes],
        versions,
        [without_secrets(c.before) for c in changes],
        [without_secrets(c.after) for c in changes],
    )


async def page(
    tx: Reader, account: str, filters: dict[str, str], before: int | None, limit: int
) -> list[asyncpg.Record]:
    """Changes, the newest first, older than the one whose number the caller has; filtered by columns of ours."""
    conditions = "".join(f" and {column} = ${n}" for n, column in enumerate(filters, 4))
    return await tx.fetch(
        "select number, at, kind, id, version, key, agent, before, after from directory_changes where account = $1"
        f" and ($2::bigint is null or number < $2){conditions} order by number desc limit $3",
        account,
        before,
        limit,
        *filters.values(),
    )
