"""An agent who goes away: what is offered returns to its queue."""

from collections.abc import Collection
from datetime import datetime

from kefu_common.postgres.database import Connection
from kefu_routing.domain import offers
from kefu_routing.domain.model import OfferStatus
from kefu_routing.domain.work import Work
from kefu_routing.store import seats, tickets


async def take_offers_back(tx: Connection, work: Work, agents: Collection[tuple[str, str]], now: datetime) -> None:
    """Withdraw these agents' open offers; the caller has locked the agents, and saves the work."""
    locked = await tickets.lock(tx, await seats.offered_to(tx, agents))
    known = await tickets.offers_of(tx, [t.offer for t in locked.values() if t.offer is not None])
    for made in known.values():
        if (made.account, made.agent) in agents and made.status is OfferStatus.OPEN:
            offers.give_back(work, locked[made.ticket], made, OfferStatus.WITHDRAWN, now)
