"""Assignment: for the groups that were woken, a short transaction that offers all that waits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from kefu_common.events.directory import Account
from kefu_common.events.words import Channel, PresenceState
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection, Database, passes
from kefu_common.telemetry import logs, metrics
from kefu_routing.domain import admission, assignment, offers
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory, Seat, Ticket
from kefu_routing.domain.work import Work
from kefu_routing.store import queues, seats
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

log = logs.get(__name__)

AgentKey = tuple[str, str]
_WORKERS = 2
_GROUPS_AT_ONCE = 25
_TICKETS_AT_ONCE, _SPARE = 1000, 50
"""How many tickets of each channel one transaction looks at: its groups share the first, each has the second."""
_LOOK_S = 1.0
_PAUSE_S = 0.5


@dataclass(slots=True)
class Assigner:
    """Woken by commits that queued a ticket or freed an agent; looks by itself every second, so nothing is missed.

    The groups that are woken at the same time share a transaction: most of its price does not grow with their number.
    """

    db: Database
    directories: DirectoryCache
    committed: Callable[[], None]
    _queue: asyncio.Queue[GroupKey] = field(default_factory=asyncio.Queue)
    _woken: set[GroupKey] = field(default_factory=set)
    """In the queue, or to be put there as soon as their present assignment has ended."""
    _under_way: set[GroupKey] = field(default_factory=set)

    def wake(self, groups: Iterable[GroupKey]) -> None:
        """Say that something changed in these groups."""
        for group in groups:
            if group not in self._woken:
                self._woken.add(group)
                if group not in self._under_way:
                    self._queue.put_nowait(group)

    async def run(self) -> None:
        """Assign until cancelled; waits out a database that is away."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look())
            for _ in range(_WORKERS):
                tasks.create_task(self._assign())

    async def _look(self) -> None:
        while True:
            try:
                self.wake(await queues.waiting_groups(self.db.pool, datetime.now(UTC)))
            except Exception as error:
                if not passes(error):
                    raise
                log.warning("assigner_waits", error=type(error).__name__)
            await asyncio.sleep(_LOOK_S)

    async def _assign(self) -> None:
        while True:
            groups = await self._next_groups()
            unfinished: set[GroupKey] = set()
            try:
                unfinished = await self._assign_groups(groups)
                self.committed()
            except Exception as error:
                if not passes(error):
                    raise
                # The next look finds the groups again.
                log.warning("assigner_waits", error=type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
            finally:
                self._under_way -= groups
                for group in groups & (unfinished | self._woken):
                    self._woken.add(group)
                    self._queue.put_nowait(group)

    async def _next_groups(self) -> set[GroupKey]:
        groups = {await self._queue.get()}
        while len(groups) < _GROUPS_AT_ONCE and not self._queue.empty():
            groups.add(self._queue.get_nowait())
        self._woken -= groups
        self._under_way |= groups
        return groups

    async def _assign_groups(self, groups: set[GroupKey]) -> set[GroupKey]:
        """Returns the groups where more waits than was looked at."""
        now = datetime.now(UTC)
        async with self.db.transaction() as tx:
            done = await assign_groups(tx, self.directories, groups, now)
        if done.gone:
            async with self.db.transaction() as tx:
                self.wake(await _rehouse(tx, self.directories, done.gone, now))
        metrics.OFFERS.labels("offered").inc(done.offered)
        return done.unfinished if done.offered else set()


@dataclass(frozen=True, slots=True)
class Assigned:
    """What one transaction did: how many offers it made, where more waits, and which groups there are no more."""

    offered: int
    unfinished: set[GroupKey]
    gone: set[GroupKey]


async def assign_groups(
    tx: Connection, directories: DirectoryCache, groups: Collection[GroupKey], now: datetime
) -> Assigned:
    """Offer what waits in the groups to their free agents. Locks the groups, their agents and the tickets, in turn."""
    await queues.lock_groups(tx, groups)
    found = await directories.load(tx, {account for account, _ in groups})
    members = {g: _members(found[g[0]], g) for g in groups if g[0] in found and g[1] in found[g[0]].groups}
    gone = {g for g in groups if g[0] in found} - members.keys()
    agents = await _candidates(tx, found, {agent for team in members.values() for agent in team}, now)
    teams = {group: [agents[agent] for agent in team if agent in agents] for group, team in members.items()}
    heads = [head for group, team in teams.items() for head in _heads(group, team, _TICKETS_AT_ONCE // len(teams))]
    waiting = await queues.lock_waiting(tx, heads, now)
    work = Work(found, new_id)
    ready = _hold_until_open(work, waiting, now)
    decisions = assignment.assign([_waiting(found[t.account], t) for t in ready.values()], teams, now)
    chosen: dict[AgentKey, assignment.Candidate] = {}
    for decision in decisions:
        assert isinstance(decision.ticket, UUID)
        offered = ready[decision.ticket]
        offers.offer(work, offered, decision.agent, now, decision.why)
        chosen[offered.account, decision.agent] = agents[offered.account, decision.agent]
    await seats.count_offers(tx, [_counted(found[a].account, a, c, now) for (a, _), c in chosen.items()])
    await store.save(tx, work)
    found_at = Counter((t.account, t.group, t.channel, t.live) for t in waiting)
    full = {h.group for h in heads if found_at[(*h.group, h.channel, h.live)] >= h.most}
    return Assigned(len(decisions), full, gone)


def _members(directory: AccountDirectory, group: GroupKey) -> list[AgentKey]:
    account, id = group
    return [(account, agent) for agent in directory.groups[id].agents if agent in directory.agents]


async def _candidates(
    tx: Connection, directories: Mapping[str, AccountDirectory], agents: Collection[AgentKey], now: datetime
) -> dict[AgentKey, assignment.Candidate]:
    """The agents, locked, with what they hold: nobody else gives them work before the commit."""
    locked = await seats.lock(tx, agents)
    held = await seats.held_by(tx, locked)
    return {
        key: assignment.Candidate(
            seat.agent,
            seat.state,
            directories[seat.account].agents[seat.agent].capacity,
            held[key],
            assignment.offers_on(_today(directories[seat.account].account, now), seat.offers_day, seat.offers_today),
            seat.last_offer_at,
        )
        for key, seat in locked.items()
    }


def _heads(group: GroupKey, team: Sequence[assignment.Candidate], most: int) -> list[queues.Head]:
    """Which queues of a group are looked at, and how far: what nobody has room for is not.

    By channel, so that a backlog of e-mails hides no caller. What remains of a call or chat needs no room.
    """
    present = [c for c in team if c.state is PresenceState.AVAILABLE]
    if not present:
        return []
    heads = [queues.Head(group, channel, False, _SPARE) for channel in sorted(LIVE_CHANNELS)]
    for channel in Channel:
        free = sum(c.room_for(channel) for c in present)
        if free > 0:
            # A few more than there is room for: agents may have declined some of them just now.
            heads.append(queues.Head(group, channel, channel in LIVE_CHANNELS, min(free + _SPARE, max(most, _SPARE))))
    return heads


def _counted(account: Account, id: str, chosen: assignment.Candidate, now: datetime) -> Seat:
    return Seat(id, chosen.agent, chosen.state, _today(account, now), chosen.offers_today, chosen.last_offer_at)


def _today(account: Account, now: datetime) -> date:
    return now.astimezone(ZoneInfo(account.time_zone)).date()


async def _rehouse(
    tx: Connection, directories: DirectoryCache, gone: Collection[GroupKey], now: datetime
) -> set[GroupKey]:
    """A group was deleted while tickets were on their way to it: they go where new ones would go."""
    found = await directories.load(tx, {account for account, _ in gone})
    work = Work(found, new_id)
    for homeless in await queues.lock_homeless(tx, gone, _TICKETS_AT_ONCE):
        group = admission.group_for(found[homeless.account], homeless)
        if group is not None:
            enqueue(work, homeless, "transferred", now, group)
    await store.save(tx, work)
    return work.groups_to_assign


def _hold_until_open(work: Work, waiting: Sequence[Ticket], now: datetime) -> dict[UUID, Ticket]:
    """E-mails and messages wait for the next open minute; who is on the line is served though the site has closed."""
    ready: dict[UUID, Ticket] = {}
    opens: dict[tuple[str, str], datetime] = {}
    for waits in waiting:
        if waits.channel not in LIVE_CHANNELS:
            site = waits.account, waits.site
            if site not in opens:
                opens[site] = admission.opens_at(work.directories[waits.account], waits.site, now)
            if opens[site] > now:
                waits.ready_at = opens[site]
                work.tickets[waits.id] = waits
                continue
        ready[waits.id] = waits
    return ready


def _waiting(directory: AccountDirectory, waits: Ticket) -> assignment.Waiting:
    plan = directory.plans.get(waits.site)
    passed = {agent: datetime.fromisoformat(at) for agent, at in waits.passed.items()}
    return assignment.Waiting(
        waits.id,
        (waits.account, waits.group or ""),
        waits.channel,
        waits.priority,
        waits.opened_at,
        plan.strategy if plan else "round_robin",
        passed,
        waits.takes_capacity,
    )
