"""Tickets, their offers, and locking them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from kefu_common.events.words import Channel, TicketKind, TicketStatus
from kefu_common.postgres.database import Connection, Json, Reader
from kefu_common.postgres.writes import Writes
from kefu_routing.domain.model import Offer, OfferStatus, Ticket
from kefu_routing.domain.work import Work

COLUMNS = ", ".join(f'"{f.name}"' for f in fields(Ticket))
_FIXED = {"id", "account", "site", "channel", "contact", "interaction", "opened_at", "partition", "adapter", "subject"}
"""What never changes once the ticket is there."""
_CHANGING = ", ".join(f'"{f.name}" = excluded."{f.name}"' for f in fields(Ticket) if f.name not in _FIXED)

_ROWS = TypeAdapter(list[Ticket])
"""Knows the types of the columns beforehand: half the time of finding them out anew for each row."""

_SAVE = f"""
insert into tickets ({COLUMNS})
select {COLUMNS} from jsonb_populate_recordset(null::tickets, $1::jsonb)
on conflict (id) do update set {_CHANGING}
"""

# Looked up: to make a member of an enumeration costs ten times as much, and there are three in each ticket.
_CHANNELS = {word.value: word for word in Channel}
_KINDS = {word.value: word for word in TicketKind}
_STATUSES = {word.value: word for word in TicketStatus}


def ticket_of(row: Iterable[Any]) -> Ticket:
    """A row of all `COLUMNS`, in their order, as a ticket."""
    found = Ticket(*row)
    found.channel = _CHANNELS[found.channel]
    found.kind = _KINDS[found.kind]
    found.status = _STATUSES[found.status]
    return found


async def read(tx: Reader, account: str, id: UUID) -> Ticket | None:
    """One ticket of the account, not locked."""
    row = await tx.fetchrow(f"select {COLUMNS} from tickets where account = $1 and id = $2", account, id)
    return None if row is None else ticket_of(row)


async def lock(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Ticket]:
    """Lock tickets, in the order of their ids, until the transaction ends."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await tx.fetch(f"select {COLUMNS} from tickets where id = any($1::uuid[]) order by id for update", wanted)
    return {row["id"]: ticket_of(row) for row in rows}


async def unattended_of(tx: Reader, account: str, agent: str) -> list[UUID]:
    """What the agent has in hand since before their client vanished."""
    rows = await tx.fetch(
        "select id from tickets where account = $1 and handler = $2 and status = 'active'"
        " and unattended_since is not null",
        account,
        agent,
    )
    return [row["id"] for row in rows]


async def of_interactions(tx: Reader, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """The tickets of these interactions, each by account and id, that are known."""
    wanted = list(places)
    rows = await tx.fetch(
        "select account, id, ticket from interactions join unnest($1::text[], $2::text[]) k (account, id)"
        " using (account, id)",
        [w[0] for w in wanted],
        [w[1] for w in wanted],
    )
    return {(r["account"], r["id"]): r["ticket"] for r in rows}


async def last_agents(tx: Reader, contacts: Sequence[tuple[str, UUID]]) -> dict[UUID, str]:
    """Who served each of these contacts last, of those whom somebody served."""
    rows = await tx.fetch(
        "select k.contact, t.agent from unnest($1::text[], $2::uuid[]) k (account, contact)"
        " cross join lateral (select coalesce(handler, owner) as agent from tickets where account = k.account"
        " and contact = k.contact and owner is not null order by id desc limit 1) t",
        [c[0] for c in contacts],
        [c[1] for c in contacts],
    )
    return {row["contact"]: row["agent"] for row in rows}


async def that_exist(tx: Connection, ids: Iterable[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
    """Which of these tickets, each by account and id, there are; only those to which an e-mail can belong."""
    wanted = sorted(set(ids))
    if not wanted:
        return set()
    rows = await tx.fetch(
        "select t.account, t.id from tickets t join unnest($1::text[], $2::uuid[]) as k (account, id)"
        " using (account, id) where t.channel in ('email', 'message')",
        [w[0] for w in wanted],
        [w[1] for w in wanted],
    )
    return {(r["account"], r["id"]) for r in rows}


async def open_of_contacts(tx: Connection, contacts: Sequence[tuple[str, UUID]]) -> list[asyncpg.Record]:
    """Open tickets (id, account, contact, site, channel) of these contacts, newest last; at most 20 a contact."""
    if not contacts:
        return []
    return await tx.fetch(
        "select t.id, t.account, t.contact, t.site, t.channel from unnest($1::text[], $2::uuid[]) k (account, contact)"
        " cross join lateral (select id, account, contact, site, channel from tickets where account = k.account"
        " and contact = k.contact and status not in ('resolved', 'archived', 'abandoned', 'refused', 'merged')"
        " order by id desc limit 20) t order by t.id",
        [c[0] for c in contacts],
        [c[1] for c in contacts],
    )


def add(writes: Writes, tickets: Iterable[Ticket]) -> None:
    """Write new and changed tickets. The caller has locked those that exist."""
    rows = sorted(tickets, key=lambda t: t.id)
    if rows:
        writes.add(_SAVE, Json(_ROWS.dump_json(rows)))


def add_interactions(writes: Writes, work: Work) -> None:
    """Remember which ticket an interaction's events belong to."""
    if not work.interactions:
        return
    places = sorted(work.interactions)
    addresses = [work.addresses.get(place, (None, None)) for place in places]
    writes.add(
        "insert into interactions as i (account, id, ticket, joined_at, reply_email, reply_phone)"
        " select a, n, t, now(), e, p from"
        " unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[]) k (a, n, t, e, p)"
        " on conflict (account, id) do update set ticket = excluded.ticket,"
        " reply_email = coalesce(excluded.reply_email, i.reply_email),"
        " reply_phone = coalesce(excluded.reply_phone, i.reply_phone)",
        [p[0] for p in places],
        [p[1] for p in places],
        [work.interactions[p] for p in places],
        [a[0] for a in addresses],
        [a[1] for a in addresses],
    )


async def move_said(tx: Connection, split_off: Mapping[tuple[str, str], tuple[UUID, UUID]]) -> None:
    """Move what was said by interactions (account, id) that were split off, from one ticket to the other."""
    if split_off:
        moves = [(place[1], *tickets) for place, tickets in split_off.items()]
        await tx.execute(
            "update messages m set ticket = k.new from unnest($1::text[], $2::uuid[], $3::uuid[]) k (place, old, new)"
            " where m.ticket = k.old and m.interaction = k.place",
            [m[0] for m in moves],
            [m[1] for m in moves],
            [m[2] for m in moves],
        )


async def joined_by(tx: Connection, account: str, ticket: UUID, interaction: str) -> asyncpg.Record | None:
    """How an interaction belongs to a ticket: when the first thing was said by it (`at`; None: nothing that is known),
    and where whoever wrote is answered (`reply_email`, `reply_phone`). None: it does not belong to it."""
    return await tx.fetchrow(
        "select i.reply_email, i.reply_phone, (select min(at) from messages where ticket = $2 and interaction = $3)"
        " as at from interactions i where i.account = $1 and i.id = $3 and i.ticket = $2",
        account,
        ticket,
        interaction,
    )


async def of_offer(tx: Reader, account: str, offer: UUID) -> UUID | None:
    """The ticket that was offered, if the account has such an offer."""
    found: UUID | None = await tx.fetchval("select ticket from offers where account = $1 and id = $2", account, offer)
    return found


async def offers_of(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Offer]:
    """Offers by id. Their tickets must be locked: an offer changes only under its ticket's lock."""
    wanted = list(ids)
    if not wanted:
        return {}
    rows = await tx.fetch("select * from offers where id = any($1::uuid[])", wanted)
    return {row["id"]: offer_of(row) for row in rows}


def offer_of(row: asyncpg.Record) -> Offer:
    """A row as an offer."""
    values = dict(row)
    values["channel"] = Channel(values["channel"])
    values["status"] = OfferStatus(values["status"])
    return Offer(**values)


def add_offers(writes: Writes, offers: Iterable[Offer]) -> None:
    """Write new offers, and how others ended."""
    rows = sorted(offers, key=lambda o: o.id)
    if not rows:
        return
    writes.add(
        "insert into offers (id, account, ticket, agent, channel, partition, fence, status, created_at, expires_at)"
        " select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::smallint[],"
        " $7::integer[], $8::text[], $9::timestamptz[], $10::timestamptz[])"
        " on conflict (id) do update set status = excluded.status",
        [o.id for o in rows],
        [o.account for o in rows],
        [o.ticket for o in rows],
        [o.agent for o in rows],
        [o.channel.value for o in rows],
        [o.partition for o in rows],
        [o.fence for o in rows],
        [o.status.value for o in rows],
        [o.created_at for o in rows],
        [o.expires_at for o in rows],
    )
