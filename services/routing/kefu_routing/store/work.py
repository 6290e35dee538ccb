"""Writing what a transaction decided, in bulk, with the events that follow from it."""

from kefu_common.events.agents import AgentPresenceChanged
from kefu_common.kafka import topics
from kefu_common.postgres import outbox
from kefu_common.postgres.database import Connection
from kefu_common.postgres.writes import Writes
from kefu_routing.domain import presence
from kefu_routing.domain.holding import wake_groups_of
from kefu_routing.domain.work import Work
from kefu_routing.store import instructions, invitations, seats, tickets, visits


async def save(tx: Connection, work: Work, writes: Writes | None = None) -> None:
    """Write everything, and what was gathered in `writes` with it.

    Nothing of it is true before the transaction commits, and then all of it is.
    """
    writes = writes or Writes()
    await _add_hands(tx, writes, work)
    tickets.add_interactions(writes, work)
    tickets.add_offers(writes, work.offers.values())
    instructions.add(writes, work.instructions)
    _add_history(writes, work)
    outbox.add_to(writes, _rows(work))
    await writes.run(tx)
    await tickets.move_said(tx, work.split_off)
    await _save_messages(tx, work)
    await instructions.save_outcomes(tx, work.outcomes)
    await visits.add(tx, work.visits)
    await invitations.watch(tx, work.watched.values())
    await invitations.add(tx, work.invited)
    await invitations.begin_chats(tx, work.chats_begun)
    await invitations.fail(tx, work.failed_invites)


async def _add_hands(tx: Connection, writes: Writes, work: Work) -> None:
    """Who has what, and what agents do."""
    tickets.add(writes, work.tickets.values())
    acted = await _presence(tx, writes, work)
    if acted and work.counted:
        # The same agents, perhaps: one statement changes a row but once.
        await writes.run(tx)
    seats.add_counts(writes, work.counted)


async def _presence(tx: Connection, writes: Writes, work: Work) -> bool:
    """Add what agents do next, which follows from what they still have in hand; whether there is any such agent."""
    keys = work.freed.keys() | work.acted.keys()
    if not keys:
        return False
    found = {key: work.seats[key] for key in keys & work.seats.keys()}
    found |= await seats.lock(tx, keys - found.keys())
    leaving = [key for key, seat in found.items() if seat.next_state is not None]
    in_hand = {}
    if leaving:
        await writes.run(tx)
        in_hand = await seats.in_hand(tx, leaving)
    for key, seat in found.items():
        # A call that was answered at a phone nobody was rung at: the agent is there, and then it ends.
        causes = [presence.come_back(seat, work.acted[key])] if key in work.acted else []
        if key in work.freed:
            causes.append(presence.ticket_ended(seat, work.freed[key], in_hand.get(key, 0)))
        for cause in causes:
            if cause is not None:
                at = work.freed[key].at if key in work.freed else work.acted[key]
                work.agent_did(*key, AgentPresenceChanged, at, None, state=seat.state, cause=cause)
                wake_groups_of(work, *key)
    seats.add(writes, found.values())
    return True


def _rows(work: Work) -> list[outbox.Row]:
    rows = [outbox.event_row(topics.TICKETS, str(h.ticket), h.event) for h in work.history]
    rows += [outbox.event_row(topics.OUTBOUND, p.key, p.event) for p in work.instructions]
    rows += [outbox.event_row(topics.OUTBOUND, p.key, p.event) for p in work.invites]
    rows += [outbox.event_row(topics.MESSAGES, p.key, p.event) for p in work.wanted]
    rows += [outbox.event_row(topics.AGENTS, p.key, p.event) for p in work.agent_events]
    rows += [outbox.event_row(topics.CONTACTS, p.key, p.event) for p in work.contact_events]
    return rows


async def _save_messages(tx: Connection, work: Work) -> None:
    if work.messages:
        rows = [
            {
                "id": m.id,
                "account": m.account,
                "ticket": m.ticket,
                "at": m.at,
                "from": m.origin,
                "agent": m.agent,
                "subject": m.subject,
                "text": m.text,
                "html": m.html,
                "attachments": m.attachments,
                "state": m.state,
                "auto": m.auto,
                "interaction": m.interaction,
            }
            for m in work.messages
        ]
        await tx.execute("insert into messages select * from jsonb_populate_recordset(null::messages, $1::jsonb)", rows)
    if work.message_states:
        await tx.execute(
            "update messages m set state = k.state from unnest($1::uuid[], $2::text[]) k (id, state) where m.id = k.id",
            list(work.message_states),
            list(work.message_states.values()),
        )
    if work.notes:
        await tx.execute(
            "insert into notes (id, account, ticket, at, agent, text) select * from"
            " unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[])",
            [n.id for n in work.notes],
            [n.account for n in work.notes],
            [n.ticket for n in work.notes],
            [n.at for n in work.notes],
            [n.agent for n in work.notes],
            [n.text for n in work.notes],
        )


def _add_history(writes: Writes, work: Work) -> None:
    if not work.history:
        return
    writes.add(
        "insert into history (ticket, sequence, account, type, at, data, why) select * from"
        " unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::jsonb[])",
        [h.ticket for h in work.history],
        [h.event.sequence for h in work.history],
        [h.event.account for h in work.history],
        [h.event.type for h in work.history],
        [h.event.time for h in work.history],
        [h.event.data for h in work.history],
        [h.why for h in work.history],
    )
