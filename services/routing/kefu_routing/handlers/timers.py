"""What happens because time passes: offers lapse, waits end, leases run out, what is old is forgotten."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kefu_common.events.agents import AgentPresenceChanged
from kefu_common.events.words import PresenceState, TicketStatus
from kefu_common.ids import new_id
from kefu_common.kafka.dead_letters import SetAside, dead_letter_row
from kefu_common.postgres import inbox, outbox
from kefu_common.postgres.database import Connection, Database
from kefu_common.telemetry import metrics
from kefu_routing.domain import offers, presence, ticket, turns
from kefu_routing.domain.holding import wake_groups_of
from kefu_routing.domain.model import OfferStatus, Ticket
from kefu_routing.domain.outcomes import move_reply
from kefu_routing.domain.work import Work
from kefu_routing.handlers import calendars
from kefu_routing.handlers.presence import vanish
from kefu_routing.handlers.rounds import every
from kefu_routing.store import directory, due, early, instructions, queues, seats, tickets
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

FREED_AFTER_S = 600
"""How long an agent is held by a call or chat whose later events are set aside."""
SETTLED_AFTER_S = 60
"""When the directory's newest states are published a second time, see `directory.publish_again`."""
BLAMED_WITHIN = timedelta(seconds=5)
"""An offer whose end is noticed later than that makes nobody away."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Timers:
    """Runs the timers of one process. Several processes may: each due row is taken by one.

    `read_until` tells how far this process has read a partition of the interactions; None: another reads it.
    """

    db: Database
    directories: DirectoryCache
    read_until: Callable[[int], datetime | None]
    owned: Callable[[], list[int]]
    committed: Callable[[set[tuple[str, str]]], None]

    async def run(self) -> None:
        """Run all timers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(0.2, self.lapse_offers))
            group.create_task(every(0.5, self.end_waits))
            group.create_task(every(0.5, self.take_steps))
            group.create_task(every(0.5, self.reassign))
            group.create_task(every(0.5, self.end_states))
            group.create_task(every(0.5, self.end_leases))
            group.create_task(every(5, self.count_queues))
            group.create_task(every(5, self.give_up_on_outcomes))
            group.create_task(every(10, self.settle_directory))
            group.create_task(every(10, self.hold_what_is_closed))
            group.create_task(every(30, self.free_hands))
            group.create_task(every(60, self.give_up_early_events))
            group.create_task(every(600, self.forget))
            group.create_task(every(3600, self.count_calendars))
            group.create_task(every(86_400, self.warn_of_calendars))

    async def lapse_offers(self) -> None:
        """Offers that ran out go back to the queue; a call's only when all that came before its end was read.

        Whoever let one lapse is away until they come back, and gives back what else is offered to them.
        """
        now = datetime.now(UTC)
        read = {p: until for p in self.owned() if (until := self.read_until(p)) is not None}
        ids = await due.offers(self.db.pool, now, read)
        if not ids:
            return
        async with self.db.transaction() as tx:
            found = await seats.lock(tx, ids.values())
            also = await seats.offered_to(tx, found)
            work, locked = await _lock(tx, self.directories, [*ids, *also])
            known = await tickets.offers_of(tx, [t.offer for t in locked.values() if t.offer is not None])
            still_open = [o for o in known.values() if o.status is OfferStatus.OPEN]
            lapsed = [o for o in still_open if o.ticket in ids and o.expires_at <= now]
            # What ran out while we were away ourselves was missed by nobody.
            missed = {(o.account, o.agent) for o in lapsed if now - o.expires_at <= BLAMED_WITHIN}
            for made in lapsed:
                offers.give_back(work, locked[made.ticket], made, OfferStatus.LAPSED, now)
            for made in still_open:
                if made.status is OfferStatus.OPEN and (made.account, made.agent) in missed:
                    offers.give_back(work, locked[made.ticket], made, OfferStatus.WITHDRAWN, now)
            for key in missed & found.keys():
                if (cause := presence.miss(found[key])) is not None:
                    work.agent_did(*key, AgentPresenceChanged, now, None, state=found[key].state, cause=cause)
            await seats.save(tx, [found[key] for key in missed & found.keys()])
            await store.save(tx, work)
        metrics.OFFERS.labels("lapsed").inc(len(lapsed))
        self.committed(work.groups_to_assign)

    async def take_steps(self) -> None:
        """What has waited long enough takes the next overflow step of its plan."""
        await self._change(await due.steps(self.db.pool, datetime.now(UTC)), turns.take_step)

    async def hold_what_is_closed(self) -> None:
        """What was written to a site that has closed waits for its next open minute, and does not age meanwhile.

        What was held while a calendar was being changed, or for a site that is gone, is let go.
        """
        while await self._hold_some() == _AT_ONCE:
            pass
        now = datetime.now(UTC)
        held = await queues.sites_held(self.db.pool, now)
        if held:
            async with self.db.transaction() as tx:
                directories = await self.directories.load(tx, {account for account, _ in held})
                opens = {place: turns.opens_at(directories[place[0]], place[1], now) for place in held}
                await queues.open_anew(tx, {place: at for place, at in opens.items() if at <= now})

    async def _hold_some(self) -> int:
        now = datetime.now(UTC)
        sites = await queues.sites_written_to(self.db.pool, now)
        if not sites:
            return 0
        async with self.db.transaction() as tx:
            directories = await self.directories.load(tx, {account for account, _ in sites})
            opens = {place: turns.opens_at(directories[place[0]], place[1], now) for place in sites}
            closed = [place for place, opens_at in opens.items() if opens_at > now]
            locked = await tickets.lock(tx, await queues.written_to(tx, closed, now, _AT_ONCE)) if closed else {}
            work = Work(directories, new_id)
            for waits in locked.values():
                # Read before it was locked: somebody may have taken it.
                if waits.status is TicketStatus.QUEUED and waits.ready_at <= now:
                    plan = directories[waits.account].plans.get(waits.site)
                    turns.hold(waits, plan, now, opens[waits.account, waits.site])
                    work.tickets[waits.id] = waits
            await store.save(tx, work)
        return len(locked)

    async def reassign(self) -> None:
        """The work of agents whose clients are gone for too long goes to others."""
        await self._change(await due.reassignments(self.db.pool, datetime.now(UTC)), ticket.reassign)

    async def _change(self, ids: Sequence[UUID], rule: Callable[[Work, Ticket, datetime], None]) -> None:
        if not ids:
            return
        now = datetime.now(UTC)
        async with self.db.transaction() as tx:
            work, locked = await _lock(tx, self.directories, ids)
            for due_now in locked.values():
                rule(work, due_now, now)
            await store.save(tx, work)
        self.committed(work.groups_to_assign)

    async def end_states(self) -> None:
        """After-call work ends by itself."""
        now = datetime.now(UTC)
        over = await seats.states_over(self.db.pool, now)
        if not over:
            return
        async with self.db.transaction() as tx:
            found = await seats.lock(tx, over)
            in_hand = await seats.in_hand(tx, over)
            work = Work(await self.directories.load(tx, {account for account, _ in over}), new_id)
            for key, seat in found.items():
                if (cause := presence.time_is_up(seat, in_hand[key], now)) is not None:
                    work.agent_did(*key, AgentPresenceChanged, now, None, state=seat.state, cause=cause)
                    wake_groups_of(work, *key)
            await seats.save(tx, found.values())
            await store.save(tx, work)
        self.committed(work.groups_to_assign)

    async def end_waits(self) -> None:
        """Calls and chats that waited longer than the plan allows are told so, and abandoned."""
        now = datetime.now(UTC)
        ids = await due.waits(self.db.pool, now)
        if not ids:
            return
        async with self.db.transaction() as tx:
            work, locked = await _lock(tx, self.directories, ids)
            for waits in locked.values():
                over = waits.give_up_at is not None and waits.give_up_at <= now
                if over and waits.status is TicketStatus.QUEUED:
                    ticket.abandon(work, waits, None, "max_wait", now)
            await store.save(tx, work)
        self.committed(work.groups_to_assign)

    async def free_hands(self) -> None:
        """An agent's capacity comes back though the end of the call or chat was set aside and is not applied yet."""
        ids = await due.stuck_in_hand(self.db.pool, FREED_AFTER_S)
        if not ids:
            return
        now = datetime.now(UTC)
        async with self.db.transaction() as tx:
            held_by = await seats.lock(tx, ids.values())
            work, locked = await _lock(tx, self.directories, ids)
            for held in locked.values():
                # Read before it was locked: it may have gone another way.
                if held.status is TicketStatus.ACTIVE and (held.account, held.holder) in held_by:
                    ticket.contact_left(work, held, None, "unknown", now)
            await store.save(tx, work)
        self.committed(work.groups_to_assign)

    async def end_leases(self) -> None:
        """An agent whose client vanished is away, and what was offered goes back to the head of the queue."""
        now = datetime.now(UTC)
        candidates = await seats.leases_over(self.db.pool, now)
        if not candidates:
            return
        async with self.db.transaction() as tx:
            await seats.lock(tx, candidates)
            gone = await seats.send_away(tx, candidates, now)
            work = Work(await self.directories.load(tx, {account for account, _ in gone}), new_id)
            await vanish(tx, work, gone, now)
            away = PresenceState.AWAY
            for account, agent in gone:
                work.agent_did(account, agent, AgentPresenceChanged, now, None, state=away, cause=presence.Cause.LEASE)
            await store.save(tx, work)
        self.committed(work.groups_to_assign)

    async def give_up_on_outcomes(self) -> None:
        """A reply of which nothing was heard until it expired was withheld or lost: it shows on its ticket."""
        while await self._give_up_on_some() == _AT_ONCE:
            pass

    async def _give_up_on_some(self) -> int:
        now = datetime.now(UTC)
        late = await instructions.unheard(self.db.pool, now, _AT_ONCE)
        if not late:
            return 0
        async with self.db.transaction() as tx:
            work, locked = await _lock(tx, self.directories, late.values())
            unheard = await instructions.load(tx, await instructions.still_unheard(tx, late))
            for asked in unheard.values():
                work.outcomes[asked.id] = "expired"
                if asked.message is not None and asked.message.state == "pending":
                    move_reply(work, locked[asked.ticket], asked.message, "failed", now, cause="expired")
            await store.save(tx, work)
        self.committed(work.groups_to_assign)
        return len(late)

    async def settle_directory(self) -> None:
        """Publish what was changed in the directory once more."""
        async with self.db.transaction() as tx:
            count = await directory.publish_again(tx, SETTLED_AFTER_S, _AT_ONCE)
        if count:
            self.committed(set())

    async def count_queues(self) -> None:
        """Keep the queue metrics."""
        now = datetime.now(UTC)
        rows = await queues.all_lengths(self.db.pool, now)
        metrics.QUEUE_LENGTH.clear()
        metrics.QUEUE_OLDEST.clear()
        for row in rows:
            metrics.QUEUE_LENGTH.labels(row["account"], row["group"]).set(row["waiting"])
            oldest_s = (now - row["oldest"]).total_seconds()
            metrics.QUEUE_OLDEST.labels(row["account"], row["group"]).set(max(0.0, oldest_s))

    async def give_up_early_events(self) -> None:
        """Set aside what waited a day for its start."""
        async with self.db.transaction() as tx:
            stale = await early.take_stale(tx)
            await inbox.mark_set_aside(tx, stale)
            await outbox.add(tx, [dead_letter_row("routing", SetAside(r, "no_start")) for r in stale.values()])
        for record in stale.values():
            metrics.DEAD_LETTERS.labels(record.topic, "no_start").inc()

    async def count_calendars(self) -> None:
        """Keep the metric of calendars that lack public holidays."""
        await calendars.count_incomplete(self.db, datetime.now(UTC).date())

    async def warn_of_calendars(self) -> None:
        """Say so once a day."""
        await calendars.warn_of_incomplete(self.db, datetime.now(UTC).date())

    async def forget(self) -> None:
        """Delete what nobody will ask for again."""
        async with self.db.transaction() as tx:
            await inbox.forget_old(tx)
            await due.forget_first_answers(tx)
            await instructions.forget_old(tx)


async def _lock(tx: Connection, directories: DirectoryCache, ids: Iterable[UUID]) -> tuple[Work, dict[UUID, Ticket]]:
    locked = await tickets.lock(tx, ids)
    return Work(await directories.load(tx, {t.account for t in locked.values()}), new_id), locked
