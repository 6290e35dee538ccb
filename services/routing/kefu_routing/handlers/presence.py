"""An agent who goes away, or comes back: what becomes of what is offered to them and of what they have in hand."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from kefu_common.events.words import TicketStatus
from kefu_common.postgres.database import Connection
from kefu_routing.domain import offers, presence, ticket
from kefu_routing.domain.model import OfferStatus, Ticket
from kefu_routing.domain.work import Work
from kefu_routing.store import seats, tickets

Agents = Collection[tuple[str, str]]


async def take_offers_back(tx: Connection, work: Work, agents: Agents, now: datetime) -> None:
    """Withdraw these agents' open offers; the caller has locked the agents, and saves the work."""
    await _withdraw(tx, work, await tickets.lock(tx, await seats.offered_to(tx, agents)), agents, now)


async def vanish(tx: Connection, work: Work, agents: Agents, now: datetime) -> None:
    """Their clients are gone: offers go back, and what they have in hand is flagged for their leaders. As above."""
    locked = await tickets.lock(tx, [*await seats.offered_to(tx, agents), *await seats.handled_by(tx, agents)])
    await _withdraw(tx, work, locked, agents, now)
    for held in locked.values():
        if held.status is TicketStatus.ACTIVE and (held.account, held.handler) in agents:
            ticket.leave_unattended(work, held, now)


async def _withdraw(tx: Connection, work: Work, locked: Mapping[UUID, Ticket], agents: Agents, now: datetime) -> None:
    known = await tickets.offers_of(tx, [t.offer for t in locked.values() if t.offer is not None])
    for made in known.values():
        if (made.account, made.agent) in agents and made.status is OfferStatus.OPEN:
            offers.give_back(work, locked[made.ticket], made, OfferStatus.WITHDRAWN, now)


async def return_to(tx: Connection, work: Work, agent: tuple[str, str]) -> None:
    """The agent is there again: what they have in hand is attended to."""
    for held in (await tickets.lock(tx, await tickets.unattended_of(tx, *agent))).values():
        if held.handler == agent[1]:
            ticket.attend(work, held)


async def act(tx: Connection, work: Work, agent: tuple[str, str], now: datetime) -> None:
    """The agent does something: a sign of life, and who was away only by themselves is there again. No ticket may be
    locked yet; the caller saves the work."""
    if presence.is_gone_by_itself(*await seats.renew_lease(tx, *agent)):
        work.acted[agent] = now
        await return_to(tx, work, agent)
