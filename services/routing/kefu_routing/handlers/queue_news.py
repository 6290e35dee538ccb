"""What those who wait are told: their place in the queue, and how long it will take (D-02, O-02)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kefu_common.events import outbound
from kefu_common.events.words import Channel
from kefu_common.ids import new_id
from kefu_common.postgres.database import Database
from kefu_routing.domain import queue, texts
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.queue import PACE_S, Place, Told
from kefu_routing.domain.ticket import say_once
from kefu_routing.domain.work import Work
from kefu_routing.handlers.rounds import every
from kefu_routing.store import places, queues
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class QueueNews:
    """Tells places. Any number of processes may: each ticket is told by one."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[set[tuple[str, str]]], None]

    async def run(self) -> None:
        """Tell them until cancelled."""
        await every(2, self.tell_places)

    async def tell_places(self) -> None:
        """Callers and visitors who have to wait learn it, and whenever their place changed."""
        now = datetime.now(UTC)
        changed = await places.changed(self.db.pool, now, _AT_ONCE)
        if not changed:
            return
        async with self.db.transaction() as tx:
            locked = await places.lock(tx, changed)
            before = await places.told(tx, locked)
            news = [
                (waits, changed[id])
                for id, waits in locked.items()
                # Read before it was locked: another process may have told it, or it waits elsewhere now.
                if waits.group == changed[id].group and queue.is_news(changed[id], waits.channel, before.get(id), now)
            ]
            groups = {(waits.account, place.group) for waits, place in news}
            pace = await queues.answers(tx, groups, now - timedelta(seconds=PACE_S), now)
            work = Work(await self.directories.load(tx, {waits.account for waits, _ in news}), new_id)
            told = []
            for waits, place in news:
                answers = pace.get(((waits.account, place.group), waits.channel), 0)
                wait_s = queue.estimate_wait_s(place.position, answers, PACE_S)
                told.append(tell(work, waits, place, wait_s, before, now))
            await store.save(tx, work)
            await places.save(tx, told)
        self.committed(set())


def tell(
    work: Work, waits: Ticket, place: Place, wait_s: float | None, before: Mapping[UUID, Told], now: datetime
) -> Told:
    """Tell one of them: a visitor by the waiting text once and then by numbers, a caller by the text each time."""
    text = texts.waiting(work.directories[waits.account], waits, place.position, wait_s)
    last = before.get(waits.id)
    if last is None:
        say_once(work, waits, "waiting", text, now)
    elif waits.channel is Channel.CALL and text is not None and text != last.text:
        work.instruct(waits, outbound.CallPlay, now, text=text)
    if waits.channel is Channel.CHAT:
        work.instruct(waits, outbound.ChatPosition, now, position=place.position, estimated_wait_s=wait_s)
    return Told(place, text, now)
