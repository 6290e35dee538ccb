"""`kefu.tickets.v1` and `kefu.outbound.v1` → the feeds that streams are served from, one transaction a batch."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from kefu_common.events.outbound import Instruction
from kefu_common.events.tickets import TicketData
from kefu_common.kafka.batch import Received
from kefu_common.kafka.dead_letters import SetAside, dead_letter_row
from kefu_common.postgres import inbox, outbox
from kefu_common.postgres.database import Connection, Database
from kefu_common.telemetry import metrics
from kefu_notifications.domain.feed import Sequenced, in_order, on_one_line
from kefu_notifications.handlers.repeats import set_reused_aside
from kefu_notifications.store import feed
from kefu_notifications.store.feed import FeedEvent, TicketKey


async def on_outbound(batch: Sequence[Received[Instruction]], db: Database) -> None:
    """Instructions become the outbound feed, in the order of their partition."""
    async with db.transaction() as tx:
        sifted = await inbox.keep_new(tx, batch)
        await set_reused_aside(tx, sifted)
        await feed.append(tx, [_instruction(r) for r in sifted.fresh])


async def on_tickets(batch: Sequence[Received[TicketData]], db: Database) -> None:
    """Ticket events become the tickets feed: in order, and none behind a gap. Source: design, sections 4 and 6."""
    async with db.transaction() as tx:
        sifted = await inbox.keep_new(tx, batch)
        await set_reused_aside(tx, sifted)
        incoming: dict[TicketKey, list[Sequenced[FeedEvent]]] = defaultdict(list)
        unplaced = []
        for received in sifted.fresh:
            ticket, sequence = _ticket(received), received.event.sequence
            if ticket is None or sequence is None:
                unplaced.append(received)
            else:
                incoming[ticket].append(Sequenced(sequence, _ticket_event(received)))
        await _set_unplaced_aside(tx, unplaced)
        if incoming:
            await _show(tx, incoming)


async def _show(tx: Connection, incoming: dict[TicketKey, list[Sequenced[FeedEvent]]]) -> None:
    marks = await feed.lock_tickets(tx, list(incoming))
    for ticket, event in await feed.waiting(tx, list(incoming)):
        incoming[ticket].append(event)
    ordered = {ticket: in_order(marks[ticket], events) for ticket, events in incoming.items()}
    await feed.save_tickets(tx, ordered)
    await feed.append(tx, [s.event for ticket in ordered.values() for s in ticket.shown])


async def _set_unplaced_aside(tx: Connection, unplaced: Sequence[Received[TicketData]]) -> None:
    for received in unplaced:
        metrics.DEAD_LETTERS.labels(received.record.topic, "no_place").inc()
    detail = "a ticket event needs a ticket's id as its subject, and a sequence"
    letters = [dead_letter_row("notifications", SetAside(r.record, "no_place", detail)) for r in unplaced]
    await inbox.mark_set_aside(tx, [r.event.id for r in unplaced])
    await outbox.add(tx, letters)


def _ticket(received: Received[TicketData]) -> TicketKey | None:
    try:
        return received.event.account, UUID(received.event.subject)
    except ValueError:
        return None


def _ticket_event(received: Received[TicketData]) -> FeedEvent:
    event = received.event
    return FeedEvent(
        "tickets", event.account, event.site, event.data.channel.value, None, event.subject, event.type, _json(received)
    )


def _instruction(received: Received[Instruction]) -> FeedEvent:
    event = received.event
    return FeedEvent(
        "outbound",
        event.account,
        event.site,
        event.data.channel.value,
        event.adapter,
        event.subject.replace("\x00", ""),
        event.type,
        _json(received),
        event.data.expires_at,
    )


def _json(received: Received[TicketData] | Received[Instruction]) -> str:
    return on_one_line(received.record.value or b"")
