"""An agent who goes away: what is offered returns to its queue."""

from datetime import datetime

from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_routing.domain import ticket
from kefu_routing.domain.model import OfferStatus
from kefu_routing.domain.work import Work
from kefu_routing.store import seats, tickets
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache


async def take_offers_back(
    tx: Connection, directories: DirectoryCache, account: str, agent: str, now: datetime
) -> set[tuple[str, str]]:
    """Withdraw the agent's open offers; the caller has locked the agent. Returns the groups to assign."""
    locked = await tickets.lock(tx, await seats.offered_to(tx, [(account, agent)]))
    work = Work(await directories.load(tx, [account]), new_id)
    offers = await tickets.offers_of(tx, [t.offer for t in locked.values() if t.offer is not None])
    for made in offers.values():
        if made.agent == agent and made.status is OfferStatus.OPEN:
            ticket.give_back(work, locked[made.ticket], made, OfferStatus.WITHDRAWN, now)
    await store.save(tx, work)
    return work.groups_to_assign
