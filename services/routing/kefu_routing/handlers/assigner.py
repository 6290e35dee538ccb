"""Assignment: for each group that was woken, one short transaction that offers all that waits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from kefu_common.events.words import Channel, PresenceState
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection, Database, passes
from kefu_common.telemetry import logs, metrics
from kefu_common.waking import until_woken
from kefu_routing.domain import admission, assignment, ticket
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory, Seat, Ticket
from kefu_routing.domain.work import Work
from kefu_routing.store import queues, seats
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

log = logs.get(__name__)

GroupKey = tuple[str, str]
_BATCH = 500
"""The most tickets of each channel that one transaction looks at."""
_LOOK_S = 1.0


@dataclass(slots=True)
class Assigner:
    """Woken by commits that queued a ticket or freed an agent; looks by itself every second, so nothing is missed."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[], None]
    _dirty: set[GroupKey] = field(default_factory=set)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self, groups: set[GroupKey]) -> None:
        """Say that something changed in these groups."""
        if groups:
            self._dirty |= groups
            self._awake.set()

    async def run(self) -> None:
        """Assign until cancelled; waits out a database that is away."""
        next_look = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            try:
                if clock() >= next_look:
                    next_look = clock() + _LOOK_S
                    self._dirty |= await queues.waiting_groups(self.db.pool, datetime.now(UTC))
                while self._dirty:
                    group = self._dirty.pop()
                    if await self._assign_group(group):
                        self._dirty.add(group)
                    self.committed()
            except Exception as error:
                if not passes(error):
                    raise
                log.warning("assigner_waits", error=type(error).__name__)
                await asyncio.sleep(0.5)
            await until_woken(self._awake, max(0.0, next_look - clock()))

    async def _assign_group(self, group: GroupKey) -> bool:
        """Whether more than one batch waits and some of it was offered."""
        async with self.db.transaction() as tx:
            now = datetime.now(UTC)
            offered, seen = await assign_group(tx, self.directories, group, now)
        metrics.OFFERS.labels("offered").inc(offered)
        return seen >= _BATCH and offered > 0


async def assign_group(tx: Connection, directories: DirectoryCache, group: GroupKey, now: datetime) -> tuple[int, int]:
    """Offer what waits in the group to its free agents; returns how many were offered and how many looked at."""
    account, group_id = group
    await queues.lock_group(tx, account, group_id)
    directory = (await directories.load(tx, [account])).get(account)
    if directory is None:
        return 0, 0
    if group_id not in directory.groups:
        return await _rehouse(tx, directory, group_id, now), 0
    members = directory.groups[group_id].agents
    free = await seats.lock(tx, [(account, a) for a in members if a in directory.agents])
    held = await seats.held_by(tx, account, list(members))
    today = now.astimezone(ZoneInfo(directory.account.time_zone)).date()
    candidates = [_candidate(directory, seat, held, today) for seat in free.values()]
    present = [c for c in candidates if c.state is PresenceState.AVAILABLE]
    if not present:
        return 0, 0
    with_room = {channel for channel in Channel if any(c.has_room_for(channel) for c in present)}
    waiting = await queues.lock_waiting(tx, account, group_id, now, with_room, _BATCH)
    work = Work({account: directory}, new_id)
    ready = _hold_until_open(work, directory, waiting, now)
    decisions = assignment.assign([_waiting(directory, t) for t in ready.values()], candidates, now)
    for decision in decisions:
        assert isinstance(decision.ticket, UUID)
        ticket.offer(work, ready[decision.ticket], decision.agent, now, decision.why)
    chosen = {d.agent for d in decisions}
    counted = [
        Seat(account, c.agent, c.state, today, c.offers_today, c.last_offer_at) for c in candidates if c.agent in chosen
    ]
    await seats.count_offers(tx, counted)
    await store.save(tx, work)
    return len(decisions), max(Counter(t.channel for t in waiting).values(), default=0)


async def _rehouse(tx: Connection, directory: AccountDirectory, gone: str, now: datetime) -> int:
    """The group was deleted while a ticket was on its way to it: the ticket goes where a new one would go."""
    work = Work({directory.account.id: directory}, new_id)
    for homeless in await queues.lock_homeless(tx, directory.account.id, gone, _BATCH):
        group = admission.group_for(directory, homeless)
        if group is not None:
            ticket.enqueue(work, homeless, "transferred", now, group)
    await store.save(tx, work)
    return len(work.tickets)


def _hold_until_open(
    work: Work, directory: AccountDirectory, waiting: Sequence[Ticket], now: datetime
) -> dict[UUID, Ticket]:
    """E-mails and messages wait for the next open minute; who is on the line is served though the site has closed."""
    ready: dict[UUID, Ticket] = {}
    opens: dict[str, datetime] = {}
    for waits in waiting:
        if waits.channel not in LIVE_CHANNELS:
            at = opens.setdefault(waits.site, admission.opens_at(directory, waits.site, now))
            if at > now:
                waits.ready_at = at
                work.tickets[waits.id] = waits
                continue
        ready[waits.id] = waits
    return ready


def _waiting(directory: AccountDirectory, waits: Ticket) -> assignment.Waiting:
    plan = directory.plans.get(waits.site)
    passed = {agent: datetime.fromisoformat(at) for agent, at in waits.passed.items()}
    strategy = plan.strategy if plan else "round_robin"
    return assignment.Waiting(
        waits.id, waits.channel, waits.priority, waits.opened_at, strategy, passed, waits.takes_capacity
    )


def _candidate(
    directory: AccountDirectory, seat: Seat, held: dict[str, dict[Channel, int]], today: date
) -> assignment.Candidate:
    return assignment.Candidate(
        seat.agent,
        seat.state,
        directory.agents[seat.agent].capacity,
        held.get(seat.agent, {}),
        assignment.offers_on(today, seat.offers_day, seat.offers_today),
        seat.last_offer_at,
    )
