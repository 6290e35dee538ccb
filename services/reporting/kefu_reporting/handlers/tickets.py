"""Counting the events of `kefu.tickets.v1`."""

from collections.abc import Sequence

from kefu_common.events.tickets import TicketData
from kefu_common.kafka.batch import Received
from kefu_common.kafka.topics import TICKETS
from kefu_common.postgres.database import Database
from kefu_common.telemetry import metrics
from kefu_reporting.domain.counting import count, log_key, merge
from kefu_reporting.domain.daily import difference
from kefu_reporting.store import counted_events, daily_sums, ticket_inbox


async def on_tickets(batch: Sequence[Received[TicketData]], db: Database) -> None:
    """Count a batch in one transaction with its inbox. Repeats and any order change nothing in the result."""
    events = {log_key(received.event): received.event for received in batch}
    async with db.transaction() as tx:
        fresh = await ticket_inbox.keep_new(tx, events)
        candidates = [found for key in fresh if (found := count(events[key])) is not None]
        before = await counted_events.load(tx, [candidate.key for candidate in candidates])
        after = merge(before, candidates)
        await counted_events.replace(tx, before, after)
        await daily_sums.add(tx, difference(before, after))
    metrics.DUPLICATES.labels(TICKETS.name).inc(len(batch) - len(fresh))
