"""Contacts and by what they are recognised."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from kefu_common.postgres.database import Connection, Reader
from kefu_common.postgres.writes import Writes
from kefu_routing.domain.identity import ContactBook, Key
from kefu_routing.domain.model import Contact

LOCK_IDENTITIES = (
    "select pg_advisory_xact_lock(h) from (select distinct hashtextextended(k, 0) as h from unnest({}::text[]) k"
    " order by h) sorted"
)
"""An identity that nobody has yet has no row to lock, and two batches must not both make its contact."""


def names_of(keys: Iterable[Key]) -> list[str]:
    """What `LOCK_IDENTITIES` locks."""
    return sorted({"\x1f".join(key) for key in keys})


async def lock_identities(tx: Connection, keys: Collection[Key]) -> None:
    """Lock identities, known or not yet, until the transaction ends. They come before all other locks."""
    if keys:
        await tx.execute(LOCK_IDENTITIES.format("$1"), names_of(keys))


async def open_book(tx: Connection, keys: Iterable[Key], new_id: Callable[[], UUID]) -> ContactBook:
    """Load the contacts of these identities, which the caller has locked."""
    wanted = sorted(set(keys))
    if not wanted:
        return ContactBook({}, {}, new_id)
    # Nobody else changes the contacts until the commit: two may come to the same one by different keys.
    rows = await tx.fetch(
        f"select i.kind, i.value, {_COLUMNS} from unnest($1::text[], $2::text[], $3::text[]) k (account, kind, value)"
        " join contact_identities i using (account, kind, value) join contacts c on c.id = i.contact"
        " order by c.id for update of c",
        *[list(column) for column in zip(*wanted, strict=True)],
    )
    by_key: dict[Key, UUID] = {(r["account"], r["kind"], r["value"]): r["id"] for r in rows}
    return ContactBook(by_key, {r["id"]: _contact(r[2:]) for r in rows}, new_id)


async def load(tx: Reader, ids: Iterable[UUID]) -> dict[UUID, Contact]:
    """Contacts by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await tx.fetch(f"select {_COLUMNS} from contacts c where id = any($1::uuid[])", wanted)
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


_COLUMNS = ", ".join(f"c.{f.name}" for f in fields(Contact))


def _contact(row: Iterable[Any]) -> Contact:
    return Contact(*row)


def add(writes: Writes, contacts: Sequence[Contact], keys: dict[Key, UUID]) -> None:
    """Write new and changed contacts, and new identities."""
    if contacts:
        ordered = sorted(contacts, key=lambda c: c.id)
        writes.add(
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
        writes.add(
            "insert into contact_identities (account, kind, value, contact)"
            " select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[])",
            [k[0] for k in keys],
            [k[1] for k in keys],
            [k[2] for k in keys],
            list(keys.values()),
        )
