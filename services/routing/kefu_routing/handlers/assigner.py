"""Assignment: for the groups that were woken, a short transaction that offers all that waits."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kefu_common.ids import new_id
from kefu_common.postgres.database import Database, passes
from kefu_common.telemetry import logs, metrics
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.work import Work
from kefu_routing.handlers import assigning
from kefu_routing.store import queues
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

log = logs.get(__name__)

_WORKERS = 2
_SPACING_S = 0.03
"""From one assignment of a worker to its next: under load they grow larger, and the price of one is mostly its own."""
_GROUPS_AT_ONCE = 25
_LOOK_S = 0.3
"""How often it is looked for what two transactions at once did not see of each other, one that queued a ticket and one
that freed an agent; and for what a process did not wake that died after its commit."""
_JUST_S = 0.3
"""A group that was assigned within this time is not looked at: then each of such two was seen, or is no older. So
nobody waits for the other longer than both times, and the look itself."""
_PAUSE_S = 0.5
_BUSY_S = 0.015


@dataclass(slots=True)
class Assigner:
    """Woken by commits that queued a ticket or freed an agent; looks by itself now and then, so nothing is missed.

    The groups that are woken at the same time share a transaction: most of its price does not grow with their number.
    """

    db: Database
    directories: DirectoryCache
    committed: Callable[[], None]
    _queue: asyncio.Queue[GroupKey] = field(default_factory=asyncio.Queue)
    _woken: set[GroupKey] = field(default_factory=set)
    """In the queue, or to be put there as soon as their present assignment has ended."""
    _under_way: set[GroupKey] = field(default_factory=set)
    _assigned_at: dict[GroupKey, float] = field(default_factory=dict)
    """When the last assignment that left nothing to do began, of the groups where that was just now."""

    def assigned(self, groups: Iterable[GroupKey], since: float) -> None:
        """Say that a commit left nothing to do in these groups, as it was seen `since` then (`time.monotonic`)."""
        self._assigned_at |= dict.fromkeys(groups, since)

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
                waiting = await queues.waiting_groups(self.db.pool, _now())
                just = time.monotonic() - _JUST_S
                self._assigned_at = {group: at for group, at in self._assigned_at.items() if at > just}
                self.wake(waiting - self._assigned_at.keys())
            except Exception as error:
                if not passes(error):
                    raise
                log.warning("assigner_waits", error=type(error).__name__)
            await asyncio.sleep(_LOOK_S)

    async def _assign(self) -> None:
        while True:
            groups = await self._next_groups()
            started = time.monotonic()
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
                for group in groups & self._woken:
                    self._queue.put_nowait(group)
                self.wake(unfinished)
            await asyncio.sleep(max(0.0, started + _SPACING_S - time.monotonic()))

    async def _next_groups(self) -> set[GroupKey]:
        groups = {await self._queue.get()}
        while len(groups) < _GROUPS_AT_ONCE and not self._queue.empty():
            groups.add(self._queue.get_nowait())
        self._woken -= groups
        self._under_way |= groups
        return groups

    async def _assign_groups(self, groups: set[GroupKey]) -> set[GroupKey]:
        """Returns the groups where more can be done at once."""
        directories = await self.directories.load(self.db.pool, {account for account, _ in groups})
        known = {g for g in groups if g[0] in directories and g[1] in directories[g[0]].groups}
        # An account that is unknown here may be on its way.
        if gone := {g for g in groups - known if g[0] in directories}:
            async with self.db.transaction() as tx:
                moved_to = await assigning.rehouse(tx, self.directories, gone, _now())
            self.wake(moved_to)
        began = time.monotonic()
        prospect = await assigning.look(self.db.pool, directories, known)
        if not prospect.members:
            self.assigned(known, began)
            return set()
        work = Work(directories, new_id)
        async with self.db.transaction() as tx:
            done = await assigning.assign(tx, work, prospect, _now)
            await store.save(tx, work)
        if done.busy:
            # Whoever assigns there now may not have seen what woke us.
            asyncio.get_running_loop().call_later(_BUSY_S, self.wake, done.busy)
        metrics.OFFERS.labels("offered").inc(done.offered)
        # What moved to another group is looked at there.
        left = done.unfinished | work.groups_to_assign
        self.assigned(known - done.busy - left, began)
        return left


def _now() -> datetime:
    return datetime.now(UTC)
