"""Credit for SMS: a balance that never falls below zero, and the entries that explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Connection
from kefu_common.postgres.database import Reader as DbReader
from kefu_notifications.domain.credit import OPENING_FEN


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of an account's balance, and the balance after it. Charges are negative."""

    id: int
    amount_fen: int
    balance_fen: int
    reason: str
    reference: str
    message: UUID | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What one message costs."""

    account: str
    message: UUID
    amount_fen: int


async def open_accounts(tx: Connection, accounts: Sequence[str]) -> None:
    """Give each account that is new here its opening credit. Source: requirements O-07."""
    await tx.execute(
        "with opened as (insert into credits (account, balance_fen) select unnest($1::text[]), $2"
        " on conflict do nothing returning account)"
        " insert into credit_entries (account, amount_fen, balance_fen, reason, reference)"
        " select account, $2, $2, 'opening', 'opening' from opened",
        sorted(set(accounts)),
        OPENING_FEN,
    )


async def lock_balances(tx: Connection, accounts: Sequence[str]) -> Mapping[str, int]:
    """The balances in fen, which nobody else changes until the commit. Opens what is new."""
    await open_accounts(tx, accounts)
    rows = await tx.fetch(
        "select account, balance_fen from credits where account = any($1::text[]) order by account for update",
        list(accounts),
    )
    return {row["account"]: row["balance_fen"] for row in rows}


async def charge(tx: Connection, charges: Sequence[Charge], balances: Mapping[str, int]) -> None:
    """Take the messages' costs, in order, from balances that this transaction locked and that suffice."""
    left = dict(balances)
    rows = []
    for each in charges:
        left[each.account] -= each.amount_fen
        rows.append((each.account, -each.amount_fen, left[each.account], str(each.message), each.message))
    if not rows:
        return
    accounts, amounts, after, references, messages = (list(column) for column in zip(*rows, strict=True))
    await tx.execute(
        "insert into credit_entries (account, amount_fen, balance_fen, reason, reference, message)"
        " select a, f, b, 'sms', r, m from"
        " unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::uuid[]) c (a, f, b, r, m)",
        accounts,
        amounts,
        after,
        references,
        messages,
    )
    changed = sorted(set(accounts))
    await tx.execute(
        "update credits c set balance_fen = n.balance_fen"
        " from unnest($1::text[], $2::integer[]) n (account, balance_fen) where c.account = n.account",
        changed,
        [left[a] for a in changed],
    )


async def find_top_up(tx: Connection, account: str, reference: str) -> Entry | None:
    """The top-up with the operator's reference, if it was made."""
    row = await tx.fetchrow(
        "select * from credit_entries where account = $1 and reason = 'top_up' and reference = $2", account, reference
    )
    return None if row is None else _entry(row)


async def top_up(tx: Connection, account: str, amount_fen: int, reference: str) -> Entry:
    """Raise a balance that this transaction locked."""
    row = await tx.fetchrow(
        "with raised as (update credits set balance_fen = balance_fen + $2 where account = $1 returning balance_fen)"
        " insert into credit_entries (account, amount_fen, balance_fen, reason, reference)"
        " select $1, $2, balance_fen, 'top_up', $3 from raised returning *",
        account,
        amount_fen,
        reference,
    )
    assert row is not None
    return _entry(row)


async def entries(db: DbReader, account: str, before: int | None, limit: int) -> list[Entry]:
    """An account's entries, newest first, older than `before`."""
    rows = await db.fetch(
        "select * from credit_entries where account = $1 and ($2::bigint is null or id < $2) order by id desc limit $3",
        account,
        before,
        limit,
    )
    return [_entry(row) for row in rows]


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(**{name: row[name] for name in Entry.__slots__})
