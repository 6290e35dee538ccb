"""Visitors who may be invited to chat, and those who were (H-11)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.invitations import Invitation, Watched

Place = tuple[str, str]
"""Account and interaction."""


@dataclass(frozen=True, slots=True)
class Due:
    """A visitor to whom a rule may apply now; `is_returning`: they have been on the site before."""

    watched: Watched
    is_returning: bool


async def watch(tx: Connection, watched: Iterable[Watched]) -> None:
    """These look at a page now. Who was invited already is not watched any more."""
    rows = sorted(watched, key=lambda w: (w.account, w.interaction))
    if rows:
        await tx.execute(
            "insert into invitations as i (account, interaction, site, adapter, traceparent, contact, page, seen_at,"
            " due_at, state) select account, interaction, site, adapter, traceparent, contact, page, seen_at, due_at,"
            " 'watched' from jsonb_populate_recordset(null::invitations, $1::jsonb)"
            " on conflict (account, interaction) do update set adapter = excluded.adapter,"
            " traceparent = excluded.traceparent, contact = coalesce(excluded.contact, i.contact),"
            " page = excluded.page, seen_at = excluded.seen_at, due_at = excluded.due_at, touched_at = now()"
            " where i.state = 'watched' and i.site = excluded.site and i.seen_at <= excluded.seen_at",
            rows,
        )


async def begin_chats(tx: Connection, places: Collection[Place]) -> None:
    """A chat has begun in these interactions: whoever was invited has accepted."""
    if places:
        await tx.execute(
            "update invitations i set state = case i.state when 'invited' then 'accepted' else 'over' end,"
            " touched_at = now() from unnest($1::text[], $2::text[]) k (account, interaction)"
            " where i.account = k.account and i.interaction = k.interaction and i.state in ('watched', 'invited')",
            *_columns(places),
        )


async def lock_due(tx: Connection, now: datetime, limit: int) -> list[Due]:
    """Visitors to whom a rule may apply now, locked; those that another process has locked are its own."""
    rows = await tx.fetch(
        "select i.account, i.interaction, i.site, i.adapter, i.traceparent, i.contact, i.page, i.seen_at, i.due_at,"
        " (exists (select from visits v where v.contact = i.contact and v.site = i.site"
        " and v.interaction <> i.interaction)"
        " or exists (select from tickets t where t.account = i.account and t.contact = i.contact"
        " and t.site = i.site)) as is_returning"
        " from invitations i where i.state = 'watched' and i.due_at <= $1 order by i.due_at limit $2"
        " for update of i skip locked",
        now,
        limit,
    )
    found = [dict(row) for row in rows]
    return [Due(is_returning=row.pop("is_returning"), watched=Watched(**row)) for row in found]


async def put_off(tx: Connection, until: Mapping[Place, datetime]) -> None:
    """No rule applied to these, who are locked: the next one may later."""
    if until:
        await tx.execute(
            "update invitations i set due_at = k.due_at from unnest($1::text[], $2::text[], $3::timestamptz[])"
            " k (account, interaction, due_at) where i.account = k.account and i.interaction = k.interaction",
            *_columns(until),
            list(until.values()),
        )


async def lock_state(tx: Connection, account: str, interaction: str) -> asyncpg.Record | None:
    """How it stands with one visitor (state, expires_at); None when nobody watched them. Nobody else invites them."""
    # Two agents at the same moment: there may be no row yet that could be locked.
    await tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 2))", f"{account}\x1f{interaction}")
    return await tx.fetchrow(
        "select state, expires_at from invitations where account = $1 and interaction = $2 for update",
        account,
        interaction,
    )


async def add(tx: Connection, invited: Sequence[Invitation]) -> None:
    """These are invited, and never again by a rule. The caller has locked those who were watched."""
    rows = [
        {
            "account": i.to.account,
            "interaction": i.to.interaction,
            "site": i.to.site,
            "adapter": i.to.adapter,
            "contact": i.to.contact,
            "page": i.to.page,
            "seen_at": i.to.seen_at,
            "due_at": i.to.due_at,
            "invitation": i.id,
            "rule": i.rule,
            "agent": i.agent,
            "text": i.text,
            "expires_at": i.expires_at,
        }
        for i in sorted(invited, key=lambda i: (i.to.account, i.to.interaction))
    ]
    if rows:
        await tx.execute(
            "insert into invitations (account, interaction, site, adapter, contact, page, seen_at, due_at, state,"
            " invitation, rule, agent, text, expires_at) select account, interaction, site, adapter, contact, page,"
            " seen_at, due_at, 'invited', invitation, rule, agent, text, expires_at"
            " from jsonb_populate_recordset(null::invitations, $1::jsonb)"
            " on conflict (account, interaction) do update set state = 'invited', invitation = excluded.invitation,"
            " rule = excluded.rule, agent = excluded.agent, text = excluded.text, expires_at = excluded.expires_at,"
            " touched_at = now()",
            rows,
        )


async def of_ids(tx: Connection, ids: Collection[UUID]) -> dict[UUID, Place]:
    """The account and interaction of each of these that is an invitation."""
    if not ids:
        return {}
    rows = await tx.fetch(
        "select invitation, account, interaction from invitations where invitation = any($1::uuid[])", list(ids)
    )
    return {row["invitation"]: (row["account"], row["interaction"]) for row in rows}


async def fail(tx: Connection, ids: Collection[UUID]) -> None:
    """These could not be shown: an agent may invite again."""
    if ids:
        await tx.execute(
            "update invitations set state = 'failed' where invitation = any($1::uuid[]) and state = 'invited'",
            list(ids),
        )


async def inviting_agents(tx: Connection, places: Collection[Place]) -> dict[Place, str]:
    """Which agent invited the visitor of an interaction by hand: their new ticket is for that agent."""
    if not places:
        return {}
    rows = await tx.fetch(
        "select i.account, i.interaction, i.agent from invitations i"
        " join unnest($1::text[], $2::text[]) k (account, interaction) using (account, interaction)"
        " where i.agent is not null and i.state in ('invited', 'accepted')",
        *_columns(places),
    )
    return {(row["account"], row["interaction"]): row["agent"] for row in rows}


async def forget_old(tx: Connection) -> None:
    """Who was here a day ago is a returning visitor at most."""
    await tx.execute("delete from invitations where touched_at < now() - interval '1 day'")


async def visits(
    tx: Reader, account: str, sites: Sequence[str] | None, before: UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Pages that were looked at on the sites (None: on any), newest first, and what came of it."""
    return await tx.fetch(
        "select v.id, v.site, v.at, v.interaction, v.contact, c.name, v.source, v.page, v.referrer,"
        " x.ticket, nullif(i.state, 'watched') as invited, i.agent as invited_by"
        " from visits v left join contacts c on c.id = v.contact"
        " left join interactions x on x.account = v.account and x.id = v.interaction"
        " left join invitations i on i.account = v.account and i.interaction = v.interaction"
        " where v.account = $1 and ($2::text[] is null or v.site = any($2)) and ($3::uuid is null or v.id < $3)"
        " order by v.id desc limit $4",
        account,
        sites,
        before,
        limit,
    )


async def visit(tx: Reader, account: str, id: UUID) -> asyncpg.Record | None:
    """One of them (site, at, interaction, contact, page, adapter), and the `ticket` of its interaction."""
    return await tx.fetchrow(
        "select v.site, v.at, v.interaction, v.contact, v.page, v.adapter, x.ticket from visits v"
        " left join interactions x on x.account = v.account and x.id = v.interaction"
        " where v.account = $1 and v.id = $2",
        account,
        id,
    )


def _columns(places: Iterable[Place]) -> tuple[list[str], list[str]]:
    listed = list(places)
    return [account for account, _ in listed], [interaction for _, interaction in listed]
