"""The directory: objects with versions, and a copy of each account's in memory that is checked at every use."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from kefu_common.events.directory import (
    DIRECTORY_MODELS,
    Account,
    Agent,
    ApiKey,
    Calendar,
    Category,
    Department,
    DirectoryEntry,
    DirectoryObject,
    Group,
    Kind,
    MailAddress,
    Plan,
    Role,
    Secret,
    Site,
)
from kefu_common.events.envelope import Event
from kefu_common.ids import new_id
from kefu_common.kafka import topics
from kefu_common.permissions import permissions_of
from kefu_common.postgres import outbox
from kefu_common.postgres.database import Connection, Database, Reader
from kefu_common.tokens import SESSION_SIGNER
from kefu_routing.domain.changes import By, Change
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.store import changes as trail
from kefu_routing.store import people, sessions

T = TypeVar("T", bound=DirectoryObject)
_MOST_ACCOUNTS = 2000


class Exists(Exception):
    """An object with this id is there already."""


class Missing(Exception):
    """There is no such object."""


class AddressTaken(Exception):
    """The mail address belongs to another site, perhaps another account's."""


class VersionChanged(Exception):
    """Somebody else changed the object since the caller read it."""


class DirectoryCache:
    """Each account's directory as last read. A version that is not the database's is read anew."""

    def __init__(self) -> None:
        self._known: dict[str, AccountDirectory] = {}

    async def load(self, tx: Reader, accounts: Iterable[str]) -> dict[str, AccountDirectory]:
        """The directories of those accounts that exist. Not within a transaction that has changed them itself."""
        rows = await tx.fetch(
            "select id, directory_version from accounts where id = any($1::text[])", sorted(set(accounts))
        )
        return await self.of_versions(tx, {row["id"]: row["directory_version"] for row in rows})

    async def of_versions(self, tx: Reader, versions: Mapping[str, int]) -> dict[str, AccountDirectory]:
        """The same, where it was asked already which version each account's directory has."""
        found: dict[str, AccountDirectory] = {}
        stale: dict[str, int] = {}
        for account, version in versions.items():
            known = self._known.get(account)
            if known is not None and known.version == version:
                found[account] = known
            else:
                stale[account] = version
        if stale:
            read = await _read(tx, stale)
            if len(self._known) > _MOST_ACCOUNTS:
                self._known.clear()
            self._known.update(read)
            found.update(read)
        return found


async def read_fresh(tx: Connection, account: str) -> AccountDirectory:
    """An account's directory with what this transaction itself has changed; it may yet be rolled back."""
    return (await _read(tx, {account: 0}))[account]


async def _read(tx: Reader, versions: dict[str, int]) -> dict[str, AccountDirectory]:
    rows = await tx.fetch(
        "select account, kind, id, body from directory where account = any($1::text[])"
        " and kind not in ('key', 'secret') and body is not null order by id",
        list(versions),
    )
    found: dict[str, dict[str, list[DirectoryObject]]] = {account: {} for account in versions}
    for row in rows:
        model = DIRECTORY_MODELS[row["kind"]].model_validate(row["body"])
        found[row["account"]].setdefault(row["kind"], []).append(model)
    return {account: _assemble(kinds, versions[account]) for account, kinds in found.items()}


def _assemble(kinds: dict[str, list[DirectoryObject]], version: int) -> AccountDirectory:
    groups = _of(kinds, "group", Group)
    (account,) = _of(kinds, "account", Account)
    categories = {c.id: c for c in _of(kinds, "category", Category)}
    return AccountDirectory(
        account,
        version,
        {s.id: s for s in _of(kinds, "site", Site)},
        {p.site: p for p in _of(kinds, "plan", Plan)},
        {g.id: g for g in groups},
        {a.id: a for a in _of(kinds, "agent", Agent)},
        {c.id: c for c in _of(kinds, "calendar", Calendar)},
        {a.id: a for a in _of(kinds, "address", MailAddress)},
        frozenset(s for g in groups for s in g.sources) - {"*"},
        frozenset(c for g in groups for c in g.categories) | categories.keys(),
        {r.id: r for r in _of(kinds, "role", Role)},
        {d.id: d for d in _of(kinds, "department", Department)},
        categories,
    )


def assembled(objects: Mapping[tuple[Kind, str], DirectoryObject], version: int) -> AccountDirectory:
    """A directory of these objects, the account among them."""
    kinds: dict[str, list[DirectoryObject]] = {}
    for (kind, _), body in objects.items():
        kinds.setdefault(kind, []).append(body)
    return _assemble(kinds, version)


def _of(kinds: dict[str, list[DirectoryObject]], kind: Kind, model: type[T]) -> list[T]:
    return [o for o in kinds.get(kind, []) if isinstance(o, model)]


async def lock_account(tx: Connection, account: str) -> None:
    """Changes of one account's directory and seats come one after the other. Raises `Missing`."""
    if await tx.fetchval("select id from accounts where id = $1 for update", account) is None:
        raise Missing(account)


async def add_account(tx: Connection, account: Account, by: By) -> None:
    """Make an account. Raises `Exists`."""
    made = await tx.fetchval("insert into accounts (id) values ($1) on conflict do nothing returning id", account.id)
    if made is None:
        raise Exists(account.id)
    await add(tx, account.id, "account", account, by)


async def add(tx: Connection, account: str, kind: Kind, body: DirectoryObject, by: By) -> int:
    """Make an object, also where a deleted one was; returns its version. Raises `Exists`, or `AddressTaken`."""
    if await get(tx, account, kind, body.id) is not None:
        raise Exists(body.id)
    return (await write(tx, account, [Change(kind, body.id, None, body.model_dump(mode="json"))], by))[0]


async def put(tx: Connection, account: str, kind: Kind, body: DirectoryObject, expected: int | None, by: By) -> int:
    """Change an object and return its version.

    Raises:
        Missing, AddressTaken, or VersionChanged unless it is `expected`.
    """
    before = await _need_version(tx, account, kind, body.id, expected)
    return (await write(tx, account, [Change(kind, body.id, before, body.model_dump(mode="json"))], by))[0]


async def delete(tx: Connection, account: str, kind: Kind, id: str, expected: int | None, by: By) -> None:
    """Delete an object. Raises `Missing`, or `VersionChanged` unless its version is `expected`."""
    before = await _need_version(tx, account, kind, id, expected)
    await write(tx, account, [Change(kind, id, before, None)], by)


async def write(tx: Connection, account: str, changes: Sequence[Change], by: By) -> list[int]:
    """Make, change and delete objects of a locked account; returns their versions. Raises `AddressTaken`."""
    if not changes:
        return []
    await _free_addresses(tx, account, [c for c in changes if c.kind == "address"])
    rows = await tx.fetch(
        "insert into directory as d (account, kind, id, version, body) select $1, k.kind, k.id, 1, k.body"
        " from unnest($2::text[], $3::text[], $4::jsonb[]) with ordinality k (kind, id, body, place) order by k.place"
        " on conflict (account, kind, id) do update set version = d.version + 1, body = excluded.body,"
        " updated_at = now() returning kind, id, version, updated_at",
        account,
        [c.kind for c in changes],
        [c.id for c in changes],
        [c.after for c in changes],
    )
    written = {(r["kind"], r["id"]): (r["version"], r["updated_at"]) for r in rows}
    placed = [written[c.kind, c.id] for c in changes]
    versions = [version for version, _ in placed]
    await tx.execute("update accounts set directory_version = directory_version + 1 where id = $1", account)
    await trail.keep(tx, account, changes, versions, by)
    await people.forget(tx, account, [c.id for c in changes if c.kind == "agent" and c.after is None])
    events = zip(changes, placed, strict=True)
    await outbox.add(tx, [_row(account, c.kind, c.id, v, c.after, at, by.traceparent) for c, (v, at) in events])
    return versions


async def _need_version(tx: Connection, account: str, kind: Kind, id: str, expected: int | None) -> dict[str, Any]:
    """The object's body, as today's model shows it."""
    row = await tx.fetchrow(
        "select version, body from directory where account = $1 and kind = $2 and id = $3 and body is not null"
        " for update",
        account,
        kind,
        id,
    )
    if row is None:
        raise Missing(id)
    if expected is not None and row["version"] != expected:
        raise VersionChanged(id)
    return DIRECTORY_MODELS[kind].model_validate(row["body"]).model_dump(mode="json")


async def _free_addresses(tx: Connection, account: str, changes: Sequence[Change]) -> None:
    """Accounts do not share a lock: of two that claim an address at once, the second waits here, and then sees it."""
    wanted = [c.after["address"] for c in changes if c.after is not None]
    if not wanted:
        return
    ids = [c.id for c in changes]
    await tx.execute(
        "select pg_advisory_xact_lock(h) from (select distinct hashtextextended('kefu.address ' || a, 0) as h"
        " from unnest($1::text[]) a order by h) sorted",
        wanted,
    )
    taken = await tx.fetchval(
        "select body ->> 'address' from directory where kind = 'address' and body ->> 'address' = any($1::text[])"
        " and not (account = $2 and id = any($3::text[])) limit 1",
        wanted,
        account,
        ids,
    )
    if taken is not None:
        raise AddressTaken(taken)
    # So that two may change places: each row is checked as it is written.
    await tx.execute(
        "update directory set body = null where account = $1 and kind = 'address' and id = any($2::text[])",
        account,
        ids,
    )


async def keys_of_sites(tx: Reader, account: str, sites: Sequence[str]) -> list[tuple[str, str]]:
    """Keys (id, site) that name these sites."""
    rows = await tx.fetch(
        "select k.id, s.site from directory k cross join lateral jsonb_array_elements_text(case"
        " jsonb_typeof(k.body -> 'sites') when 'array' then k.body -> 'sites' else '[]' end) s (site)"
        " where k.account = $1 and k.kind = 'key' and k.body is not null and s.site = any($2::text[])"
        " order by k.id, s.site",
        account,
        list(sites),
    )
    return [(row["id"], row["site"]) for row in rows]


async def calendars_of_countries(tx: Reader) -> list[asyncpg.Record]:
    """Every calendar (account, body) that follows a country's holidays."""
    return await tx.fetch(
        "select account, body from directory where kind = 'calendar' and body ->> 'country' is not null"
        " order by account, id"
    )


async def get(tx: Reader, account: str, kind: Kind, id: str) -> tuple[dict[str, Any], int] | None:
    """An object's body and version."""
    row = await tx.fetchrow(
        "select body, version from directory where account = $1 and kind = $2 and id = $3 and body is not null",
        account,
        kind,
        id,
    )
    return None if row is None else (row["body"], row["version"])


async def page(tx: Reader, account: str, kind: Kind, before: int | None, limit: int) -> list[asyncpg.Record]:
    """Objects (body, number), the newest first, older than the one whose number the caller has."""
    return await tx.fetch(
        "select body, number from directory where account = $1 and kind = $2 and body is not null"
        " and ($3::bigint is null or number < $3) order by number desc limit $4",
        account,
        kind,
        before,
        limit,
    )


async def accounts(tx: Reader, before: int | None, limit: int) -> list[asyncpg.Record]:
    """All accounts (body, number), the newest first."""
    return await tx.fetch(
        "select body, number from directory where kind = 'account' and body is not null"
        " and ($1::bigint is null or number < $1) order by number desc limit $2",
        before,
        limit,
    )


async def publish_again(tx: Connection, older_than_s: float, limit: int) -> int:
    """Publish the newest states a second time, some time after the first; returns how many.

    A relay that was paused beyond its lease may write an older version behind a newer one. Readers ignore it, but the
    topic is compacted, and whoever starts anew would read it alone: a key that was revoked would open doors again.
    """
    rows = await tx.fetch(
        "update directory set settled_version = version where (account, kind, id) in (select account, kind, id"
        " from directory where settled_version < version and updated_at < now() - make_interval(secs => $1)"
        " order by updated_at limit $2 for update skip locked) returning account, kind, id, version, body, now() as at",
        older_than_s,
        limit,
    )
    await outbox.add(tx, [_row(r["account"], r["kind"], r["id"], r["version"], r["body"], r["at"], None) for r in rows])
    return len(rows)


class StoredKeys:
    """Keys and people from the database, so that whatever changes is in force at once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        """The account and key of which a secret has this hash."""
        row = await self._db.pool.fetchrow(
            "select account, body from directory where kind = 'key' and body is not null and body ->> 'hash' = $1"
            " union all select account, body from directory"
            " where kind = 'key' and body is not null and body -> 'former' ->> 'hash' = $1 limit 1",
            hash,
        )
        return None if row is None else (row["account"], ApiKey.model_validate(row["body"]))

    async def by_id(self, account: str, id: str) -> ApiKey | None:
        """An account's key by its id."""
        found = await get(self._db.pool, account, "key", id)
        return None if found is None else ApiKey.model_validate(found[0])

    async def permissions(self, account: str, agent: str) -> frozenset[str] | None:
        """What the agent's roles permit now; None when the account has no such agent."""
        row = await self._db.pool.fetchrow(
            "select a.body -> 'roles' as roles, (select jsonb_agg(r.body) from directory r where r.account = a.account"
            " and r.kind = 'role' and r.body is not null and a.body -> 'roles' ? r.id) as defined from directory a"
            " where a.account = $1 and a.kind = 'agent' and a.id = $2 and a.body is not null",
            account,
            agent,
        )
        if row is None:
            return None
        defined = [Role.model_validate(body) for body in row["defined"] or []]
        return permissions_of(row["roles"], {role.id: role for role in defined})

    async def token_secret(self, account: str) -> str | None:
        """The sealed secret that signs the account's tokens; None when it has none."""
        found = await get(self._db.pool, account, "secret", SESSION_SIGNER)
        return None if found is None else Secret.model_validate(found[0]).sealed

    async def is_over(self, session: UUID) -> bool:
        """Whether the session has ended before its token."""
        return await sessions.is_over(self._db.pool, session)


def _row(
    account: str, kind: Kind, id: str, version: int, body: dict[str, Any] | None, at: datetime, traceparent: str | None
) -> outbox.Row:
    entry = DirectoryEntry(kind=kind, object_id=id, version=version, deleted=body is None, body=body)
    key = f"{account}/{kind}/{id}"
    event = Event(new_id(), "kefu.directory.changed", "/directory", key, at, account, entry, traceparent=traceparent)
    return outbox.event_row(topics.DIRECTORY, key, event)
