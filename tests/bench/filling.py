"""A database that has been worked with: tickets of the last month, most of them over, with all that belongs to them."""

import asyncio
from datetime import UTC, datetime

import asyncpg
from pydantic_core import to_json

from kefu_common.events.words import Channel
from kefu_common.ids import new_id
from kefu_routing.domain.model import Ticket
from tests.bench.account import ACCOUNT, AGENTS_PER_GROUP, GROUPS, SITE

TICKETS_PER_CONTACT = 4


def _uuid7(at: str, seed: str) -> str:
    """SQL for an id that sorts by its moment, as `new_id` makes them, and that the same seed always gives."""
    hex_ms = f"lpad(to_hex((extract(epoch from {at}) * 1000)::bigint), 12, '0')"
    return f"({hex_ms} || '7' || left(md5({seed}), 3) || '8' || right(md5({seed}), 15))::uuid"


_PAST = f"""
past as (
    select n, opened_at, {_uuid7("opened_at", "'t' || n")} as id, {_uuid7("met_at", "'c' || who")} as contact, who,
        'past-' || n as interaction, status, channel, "group", "group" || '-a' || lpad(agent::text, 2, '0') as agent,
        {_uuid7("opened_at", "'o' || n")} as offer
    from (
        select n, n / {TICKETS_PER_CONTACT} as who, $2::timestamptz - ($1 - n) * (interval '30 days' / $1) as opened_at,
            $2::timestamptz - interval '31 days' as met_at, 'g' || lpad((n % {GROUPS})::text, 2, '0') as "group",
            n / {GROUPS} % {AGENTS_PER_GROUP} as agent,
            case when n % 199 = 0 then 'active' when n % 19 = 0 then 'abandoned' else 'resolved' end as status,
            case when n % 199 = 0 then 'email' else
                (array['chat', 'chat', 'chat', 'chat', 'call', 'call', 'call', 'email', 'email'])[n % 9 + 1] end
                as channel
        from generate_series(1, $1::integer) n
    ) told
)
"""
"""One in 199 is an e-mail that its agent still has in hand, one in 19 was abandoned; the others are done."""

# Whatever columns `tickets` has: the example has them all, and here only what differs is said.
_TICKETS = f"""
with {_PAST}
insert into tickets select t.* from past p cross join lateral jsonb_populate_record(null::tickets,
    $3::jsonb || jsonb_build_object('id', p.id, 'contact', p.contact, 'interaction', p.interaction,
        'channel', p.channel, 'status', p.status, 'group', p."group", 'category', p."group",
        'opened_at', p.opened_at, 'ready_at', p.opened_at, 'came_at', p.opened_at, 'partition', p.n % 12)
    || case when p.status = 'abandoned' then '{{}}' else jsonb_build_object('handler', p.agent, 'owner', p.agent,
        'answered_at', p.opened_at + interval '20 s', 'handled_ms', 180000, 'sequence', 3, 'fence', 1) end
    || case when p.status = 'active' then jsonb_build_object('holder', p.agent) else '{{}}' end) t
"""

_WHAT_BELONGS_TO_THEM = (
    f"""
    with {_PAST}
    insert into contacts (id, account, external_id, name, phone, tier, created_at)
    select distinct on (who) contact, '{ACCOUNT}', 'past-' || who, '王芳', '+86139' || lpad(who::text, 8, '0'), 'gold',
        opened_at from past order by who, opened_at
    """,
    f"""
    with {_PAST}
    insert into contact_identities (account, kind, value, contact)
    select distinct '{ACCOUNT}', kind, case kind when 'phone' then '+86139' || lpad(who::text, 8, '0')
        else 'past-' || who end, contact from past, unnest(array['phone', 'external']) kind
    """,
    f"""
    with {_PAST}
    insert into interactions (account, id, ticket) select '{ACCOUNT}', interaction, id from past
    """,
    f"""
    with {_PAST}
    insert into offers (id, account, ticket, agent, channel, partition, fence, status, created_at, expires_at)
    select offer, '{ACCOUNT}', id, agent, channel, n % 12, 1, 'accepted', opened_at, opened_at + interval '30 s'
    from past where status <> 'abandoned'
    """,
    f"""
    with {_PAST}
    insert into messages (id, account, ticket, at, "from", agent, text, attachments, state)
    select {_uuid7("opened_at", "side || n")}, '{ACCOUNT}', id, opened_at, side,
        case side when 'agent' then agent end, '您好，我想问一下我的订单什么时候发货？谢谢', '[]',
        case side when 'agent' then 'sent' end
    from past, unnest(array['contact', 'agent']) side where channel <> 'call' and status <> 'abandoned'
    """,
    f"""
    with {_PAST}
    insert into history (ticket, sequence, account, type, at, data)
    select id, sequence, '{ACCOUNT}', 'kefu.ticket.' || (array['opened', 'assigned', 'resolved'])[sequence], opened_at,
        jsonb_build_object('site', '{SITE}', 'channel', channel, 'group', "group", 'handler', agent, 'contact',
        contact, 'priority', 0, 'status', status, 'opened_at', opened_at)
    from past, generate_series(1, 3) sequence where sequence = 1 or status <> 'abandoned'
    """,
    """
    insert into inbox (event, body_hash, seen_at)
    select md5('event' || n)::uuid, decode(md5('body' || n) || md5('body' || n), 'hex'), $2::timestamptz
    from generate_series(1, 2 * $1::integer) n
    """,
)


async def fill(dsn: str, tickets: int) -> None:
    """Add so many tickets of the past to the bench's account, and let PostgreSQL look at what it has."""
    now = datetime.now(UTC)
    belongings = [_execute(dsn, statement, tickets, now) for statement in _WHAT_BELONGS_TO_THEM]
    await asyncio.gather(_execute(dsn, _TICKETS, tickets, now, to_json(_example(now)).decode()), *belongings)
    await _execute(dsn, "vacuum analyze")


async def _execute(dsn: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


def _example(now: datetime) -> Ticket:
    """What all of them have in common."""
    example = Ticket(new_id(), ACCOUNT, SITE, Channel.CHAT, new_id(), "", opened_at=now, ready_at=now, partition=0)
    example.source, example.tier, example.adapter = "app/product-page", "gold", "bench"
    return example
