"""Contacts and by what they are recognised."""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.identity import ContactBook, Key
from kefu_routing.domain.model import Contact


async def open_book(tx: Connection, keys: Iterable[Key], new_id: Callable[[], UUID]) -> ContactBook:
    """Lock the identities (known or not yet) until the transaction ends, and load their contacts."""
    wanted = sorted(set(keys))
    if not wanted:
        return ContactBook({}, {}, new_id)
    # An identity that nobody has yet has no row to lock, and two batches must not both make its contact.
    await tx.execute(
        "select pg_advisory_xact_lock(h) from"
        " (select distinct hashtextextended(k, 0) as h from unnest($1::text[]) k order by h) sorted",
        ["\x1f".join(key) for key in wanted],
    )
    columns = [list(column) for column in zip(*wanted, strict=True)]
    rows = await tx.fetch(
        "select i.account, i.kind, i.value, i.contact from contact_identities i"
        " join unnest($1::text[], $2::text[], $3::text[]) as k (account, kind, value) using (account, kind, value)",
        *columns,
    )
    by_key: dict[Key, UUID] = {(r["account"], r["kind"], r["value"]): r["contact"] for r in rows}
    return ContactBook(by_key, await _lock(tx, by_key.values()), new_id)


async def _lock(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Contact]:
    """Contacts by id, which nobody else changes until the commit: two may come to the same one by different keys."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await tx.fetch(f"{_SELECT} where id = any($1::uuid[]) order by id for update", wanted)
    return {row["id"]: _contact(row) for row in rows}


async def load(tx: Reader, ids: Iterable[UUID]) -> dict[UUID, Contact]:
    """Contacts by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await tx.fetch(f"{_SELECT} where id = any($1::uuid[])", wanted)
    return {row["id"]: _contact(row) for row in rows}


async def is_seen_on(tx: Reader, account: str, contact: UUID, sites: Sequence[str]) -> bool:
    """Whether the contact has a ticket on one of the sites."""
    found: bool = await tx.fetchval(
        "select exists (select from tickets where account = $1 and contact = $2 and site = any($3::text[]))",
        account,
        contact,
        list(sites),
    )
    return found


_SELECT = "select id, account, created_at, external_id, name, phone, email, tier from contacts"


def _contact(row: asyncpg.Record) -> Contact:
    return Contact(**dict(row))


async def save(tx: Connection, contacts: Sequence[Contact], keys: dict[Key, UUID]) -> None:
    """Write new and changed contacts, and new identities."""
    if contacts:
        ordered = sorted(contacts, key=lambda c: c.id)
        await tx.execute(
            "insert into contacts (id, account, created_at, external_id, name, phone, email, tier)"
            " select * from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],"
            " $7::text[], $8::text[])"
            " on conflict (id) do update set external_id = excluded.external_id, name = excluded.name,"
            " phone = excluded.phone, email = excluded.email, tier = excluded.tier",
            [c.id for c in ordered],
            [c.account for c in ordered],
            [c.created_at for c in ordered],
            [c.external_id for c in ordered],
            [c.name for c in ordered],
            [c.phone for c in ordered],
            [c.email for c in ordered],
            [c.tier for c in ordered],
        )
    if keys:
        await tx.execute(
            "insert into contact_identities (account, kind, value, contact)"
            " select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[])",
            [k[0] for k in keys],
            [k[1] for k in keys],
            [k[2] for k in keys],
            list(keys.values()),
        )
