"""Inviting visitors to chat by the plan's rules (H-11), and forgetting who was here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kefu_common.ids import new_id
from kefu_common.postgres.database import Database
from kefu_routing.domain import invitations as rules
from kefu_routing.domain.invitations import OPEN_FOR, Invitation
from kefu_routing.domain.online import is_online
from kefu_routing.domain.work import Work
from kefu_routing.handlers.rounds import every
from kefu_routing.store import invitations, online, places
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Inviting:
    """Invites. Any number of processes may: each visitor is invited by one."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[set[tuple[str, str]]], None]

    async def run(self) -> None:
        """Invite until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(1, self.invite_due))
            group.create_task(every(600, self.forget))

    async def invite_due(self) -> None:
        """Whoever has looked at a page for long enough is invited by the first rule that applies, once."""
        now = datetime.now(UTC)
        async with self.db.transaction() as tx:
            due = await invitations.lock_due(tx, now, _AT_ONCE)
            if not due:
                return
            accounts = {d.watched.account for d in due}
            work = Work(await self.directories.load(tx, accounts), new_id)
            available = await online.available(tx, accounts)
            later = {}
            for visitor in due:
                watched = visitor.watched
                directory = work.directories[watched.account]
                plan = directory.plans.get(watched.site)
                listed = plan.invitations if plan is not None else []
                is_there = is_online(directory, watched.site, available, now)
                rule = rules.choose(listed, watched, is_returning=visitor.is_returning, is_online=is_there, now=now)
                if rule is None:
                    later[watched.account, watched.interaction] = rules.due_at(
                        listed, watched.page, watched.seen_at, now
                    )
                else:
                    work.invite(Invitation(work.new_id(), watched, rule.text, rule.id, None, now + OPEN_FOR), now)
            await invitations.put_off(tx, later)
            await store.save(tx, work)
        self.committed(set())

    async def forget(self) -> None:
        """Delete what nobody will ask for again."""
        async with self.db.transaction() as tx:
            await invitations.forget_old(tx)
            await places.forget_old(tx)
