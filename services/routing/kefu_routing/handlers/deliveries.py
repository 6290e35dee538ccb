"""`kefu.deliveries.v1`: what became of replies that went out as e-mail or SMS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kefu_common.events import deliveries as told
from kefu_common.events.deliveries import DeliveryData
from kefu_common.ids import new_id
from kefu_common.kafka.batch import Received
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Database
from kefu_routing.domain.outcomes import move_reply
from kefu_routing.domain.work import Work
from kefu_routing.store import conversation, tickets
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache

_STATES: dict[type[DeliveryData], Literal["sent", "delivered", "failed"]] = {
    told.MessageSent: "sent",
    told.MessageDelivered: "delivered",
    told.MessageFailed: "failed",
}


@dataclass(frozen=True, slots=True)
class OnDeliveries:
    """Moves the state of replies; one that failed shows on its ticket."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[set[tuple[str, str]]], None]

    async def __call__(self, batch: Sequence[Received[DeliveryData]]) -> None:
        """One transaction; running it again with the same events changes nothing."""
        async with self.db.transaction() as tx:
            fresh = (await inbox.keep_new(tx, batch)).fresh
            of_replies = [r for r in fresh if r.event.data.reply is not None and type(r.event.data) in _STATES]
            work = Work(await self.directories.load(tx, {r.event.account for r in of_replies}), new_id)
            locked = await tickets.lock(tx, [r.event.data.ticket for r in of_replies if r.event.data.ticket])
            replies = await conversation.by_id(tx, [r.event.data.reply for r in of_replies if r.event.data.reply])
            for received in of_replies:
                data = received.event.data
                ticket = locked.get(data.ticket) if data.ticket else None
                message = replies.get(data.reply) if data.reply else None
                if ticket is not None and message is not None and ticket.account == received.event.account:
                    ticket.traceparent = received.event.traceparent or ticket.traceparent
                    move_reply(work, ticket, message, _STATES[type(data)], received.event.time, cause="rejected")
            await store.save(tx, work)
        self.committed(work.groups_to_assign)
