"""What accounts chose for their notifications."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from kefu_common.postgres.database import Connection
from kefu_common.postgres.database import Reader as DbReader
from kefu_notifications.domain.planning import Recipients


@dataclass(frozen=True, slots=True)
class Chosen:
    """None means unset; an empty signature means none at all. `version` 0: never set."""

    recipients: Recipients | None = None
    signature: str | None = None
    version: int = 0


async def of_accounts(tx: DbReader, accounts: Sequence[str], *, shared: bool = False) -> Mapping[str, Chosen]:
    """By account; those who chose nothing are absent. `shared` keeps them as they are until the commit."""
    lock = " order by account for share" if shared else ""
    rows = await tx.fetch(f"select * from settings where account = any($1::text[]){lock}", accounts)
    return {row["account"]: _chosen(row) for row in rows}


async def lock_one(tx: Connection, account: str) -> Chosen:
    """One account's, to be changed by this transaction alone."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended('settings ' || $1, 0))", account)
    return (await of_accounts(tx, [account])).get(account, Chosen())


async def save(tx: Connection, account: str, chosen: Chosen) -> None:
    """Replace them."""
    recipients = chosen.recipients
    await tx.execute(
        "insert into settings (account, emails, phones, signature, version) values ($1, $2, $3, $4, $5)"
        " on conflict (account) do update set emails = excluded.emails, phones = excluded.phones,"
        " signature = excluded.signature, version = excluded.version, updated_at = now()",
        account,
        None if recipients is None else list(recipients.emails),
        None if recipients is None else list(recipients.phones),
        chosen.signature,
        chosen.version,
    )


def _chosen(row: asyncpg.Record) -> Chosen:
    recipients = None if row["emails"] is None else Recipients(row["emails"], row["phones"])
    return Chosen(recipients, row["signature"], row["version"])
