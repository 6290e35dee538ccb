"""Commands on tickets and offers: who may, what happens, what is answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, StringConstraints, model_validator
from starlette.responses import Response

from kefu_common.events.directory import ObjectId
from kefu_common.events.words import PresenceState, TicketStatus
from kefu_common.given import NO_NUL, Given
from kefu_common.http import problems
from kefu_common.http.auth import Principal
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_routing.api import shown
from kefu_routing.api.context import (
    Answer,
    Command,
    Empty,
    Service,
    Who,
    acting_agent,
    body_of,
    directory_of,
    expected_version,
    now,
    run,
    trace_of,
)
from kefu_routing.domain import assignment, offers, presence, refusals
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.model import Contact, Offer, Ticket
from kefu_routing.domain.work import Work
from kefu_routing.store import contacts, seats, tickets
from kefu_routing.store import work as store

router = APIRouter(prefix="/v1", tags=["tickets"])
ERRORS = problems.declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)

Text = Annotated[str, StringConstraints(min_length=1, max_length=50_000, pattern=NO_NUL)]
Reason = Annotated[str, StringConstraints(max_length=500, pattern=NO_NUL)]


class Decline(Given):
    """Why the agent refuses."""

    reason: Reason | None = None


class Reply(Given):
    """What the contact is answered."""

    text: Text
    attachments: Annotated[list[str], Field(max_length=0)] = []


class WriteNote(Given):
    """What colleagues should know."""

    text: Text


class TransferTo(Given):
    """Either an agent or a group."""

    agent: ObjectId | None = None
    group: ObjectId | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "TransferTo":
        if (self.agent is None) == (self.group is None):
            raise ValueError("expected either agent or group")
        return self


class Transfer(Given):
    """To whom, and why."""

    to: TransferTo
    reason: Reason = ""


class Resolve(Given):
    """How it ended; `code` is a resolution code."""

    text: Annotated[str, StringConstraints(max_length=50_000, pattern=NO_NUL)] = ""
    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None


class At:
    """Where a command acts: the locked ticket and everything that its rules need."""

    def __init__(self, work: Work, ticket: Ticket, offer: Offer | None, contact: Contact, agent: str) -> None:
        self.work = work
        self.ticket = ticket
        self.offer = offer
        self.contact = contact
        self.agent = agent


Rule = Callable[[At], object]


async def run_as_agent(
    request: Request, who: Principal, service: Service, body: BaseModel | None, command: Command
) -> Response:
    """Run an agent's command. One that is refused shows too that an agent who missed an offer is there."""
    try:
        response = await run(request, who, service, body, command)
    except problems.Conflict:
        await _is_there(service, who)
        raise
    if response.status_code == problems.Conflict.status:
        await _is_there(service, who)
    return response


async def _is_there(service: Service, who: Principal) -> None:
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        key = (who.account, acting_agent(who, directory))
        state, reason = await seats.renew_lease(tx, *key)
        if state is not PresenceState.AWAY or reason != presence.Cause.MISSED:
            return
        work = Work({who.account: directory}, new_id)
        work.acted[key] = now()
        await store.save(tx, work)
    service.committed(work.groups_to_assign)


@router.post("/offers/{id}/accept", responses=ERRORS)
async def accept(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Take what was offered; answers the ticket. Repeating it is `200`; a lapsed or foreign offer is `409`."""
    body = await body_of(request, Empty)

    def rule(at: At) -> None:
        assert at.offer is not None
        offers.accept(at.work, at.ticket, at.offer, at.agent, now())

    return await run_as_agent(request, who, service, body, lambda tx: _on_offer(tx, request, who, service, id, rule))


@router.post("/offers/{id}/decline", responses=ERRORS)
async def decline(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Refuse what was offered; it goes to the head of the queue."""
    body = await body_of(request, Decline)

    def rule(at: At) -> None:
        assert at.offer is not None
        offers.decline(at.work, at.ticket, at.offer, at.agent, body.reason, now())

    return await run_as_agent(request, who, service, body, lambda tx: _on_offer(tx, request, who, service, id, rule))


@router.post("/tickets/{id}/claim", responses=ERRORS)
async def claim(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Take a ticket from the queue of one of the agent's groups, within their capacity."""
    body = await body_of(request, Empty)

    async def command(tx: Connection) -> Answer:
        agent = acting_agent(who, await directory_of(tx, service, who))
        await seats.lock(tx, [(who.account, agent)])
        at = await at_ticket(tx, request, who, service, id)
        with refusals_as_problems():
            refusals.need(at.ticket, TicketStatus.QUEUED)
            await _need_room(tx, at, agent)
            rules.claim(at.work, at.ticket, agent, now())
        return await done(tx, at)

    return await run_as_agent(request, who, service, body, command)


@router.post("/tickets/{id}/reply", responses=ERRORS)
async def reply(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Answer the contact; only the handler may. Answers the message with its `state`."""
    body = await body_of(request, Reply)

    async def command(tx: Connection) -> Answer:
        at = await at_ticket(tx, request, who, service, id)
        with refusals_as_problems():
            written = rules.reply(at.work, at.ticket, at.contact, at.agent, body.text, now())
        await done(tx, at)
        return Answer(shown.message(written), 200, str(at.ticket.sequence))

    return await run_as_agent(request, who, service, body, command)


@router.post("/tickets/{id}/note", responses=ERRORS)
async def note(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Write something that only colleagues see, whatever the ticket's status."""
    body = await body_of(request, WriteNote)
    rule: Rule = lambda at: rules.note(at.work, at.ticket, at.agent, body.text, now())  # noqa: E731
    return await run_as_agent(request, who, service, body, lambda tx: _on_ticket(tx, request, who, service, id, rule))


@router.post("/tickets/{id}/transfer", responses=ERRORS)
async def transfer(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Pass the ticket on: to a group's queue, or as an offer to a colleague who is there and has room."""
    body = await body_of(request, Transfer)

    async def command(tx: Connection) -> Answer:
        directory = await directory_of(tx, service, who)
        if body.to.group is not None and body.to.group not in directory.groups:
            raise problems.Invalid([("to.group", f"there is no group {body.to.group}")])
        if body.to.agent is not None:
            if body.to.agent not in directory.agents:
                raise problems.Invalid([("to.agent", f"there is no agent {body.to.agent}")])
            both = (body.to.agent, acting_agent(who, directory))
            await seats.lock(tx, [(who.account, agent) for agent in both])
        at = await at_ticket(tx, request, who, service, id)
        with refusals_as_problems():
            refusals.need_handler(at.ticket, at.agent)
            if body.to.group is not None:
                rules.transfer_to_group(at.work, at.ticket, at.agent, body.to.group, body.reason, now())
            elif body.to.agent is not None:
                await _need_room(tx, at, body.to.agent)
                rules.transfer_to_agent(at.work, at.ticket, at.agent, body.to.agent, body.reason, now())
        return await done(tx, at)

    return await run_as_agent(request, who, service, body, command)


@router.post("/tickets/{id}/resolve", responses=ERRORS)
async def resolve(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """End the work on it; only the handler may."""
    body = await body_of(request, Resolve)
    rule: Rule = lambda at: rules.resolve(at.work, at.ticket, at.agent, body.text, body.code, now())  # noqa: E731
    return await run_as_agent(request, who, service, body, lambda tx: _on_ticket(tx, request, who, service, id, rule))


async def _on_offer(tx: Connection, request: Request, who: Principal, service: Service, id: UUID, rule: Rule) -> Answer:
    ticket_id = await tickets.of_offer(tx, who.account, id)
    if ticket_id is None:
        acting_agent(who, await directory_of(tx, service, who))
        raise problems.NotFound(f"there is no offer {id}")
    return await _on_ticket(tx, request, who, service, ticket_id, rule, offer_id=id)


async def _on_ticket(
    tx: Connection,
    request: Request,
    who: Principal,
    service: Service,
    id: UUID,
    rule: Rule,
    offer_id: UUID | None = None,
) -> Answer:
    at = await at_ticket(tx, request, who, service, id, offer_id)
    with refusals_as_problems():
        rule(at)
    return await done(tx, at)


async def at_ticket(
    tx: Connection, request: Request, who: Principal, service: Service, id: UUID, offer_id: UUID | None = None
) -> At:
    """Lock the ticket and load what commands need; a sign of life of the agent."""
    directory = await directory_of(tx, service, who)
    agent = acting_agent(who, directory)
    work = Work({who.account: directory}, new_id)
    # It locks the agent, and agents come before tickets in the order of locks.
    is_back = presence.is_gone_by_itself(*await seats.renew_lease(tx, who.account, agent))
    theirs = await tickets.unattended_of(tx, who.account, agent) if is_back else []
    found = await tickets.lock(tx, [id, *theirs])
    locked = found.get(id)
    if locked is None or locked.account != who.account or not who.may_use_site(locked.site):
        raise problems.NotFound(f"there is no ticket {id}")
    expected = expected_version(request)
    if expected is not None and expected != locked.sequence:
        raise problems.PreconditionFailed("somebody else changed the ticket; read it again")
    if is_back:
        work.acted[who.account, agent] = now()
        for own in theirs:
            rules.attend(work, found[own])
    request.scope["kefu.ticket"] = str(id)
    locked.traceparent = trace_of(request) or locked.traceparent
    wanted = offer_id or locked.offer
    offers = await tickets.offers_of(tx, [wanted] if wanted else [])
    contact = (await contacts.load(tx, [locked.contact]))[locked.contact]
    return At(work, locked, offers.get(wanted) if wanted else None, contact, agent)


async def done(tx: Connection, at: At) -> Answer:
    """Write what was decided; answers the ticket."""
    await store.save(tx, at.work)
    ticket = at.ticket
    return Answer(shown.ticket(ticket), 200, str(ticket.sequence), frozenset(at.work.groups_to_assign))


async def _need_room(tx: Connection, at: At, agent: str) -> None:
    """Raises `CannotTake` unless the agent, who is locked, takes something new and has room for it. (Guarantee 2)"""
    account = at.ticket.account
    seat = (await seats.lock(tx, [(account, agent)])).get((account, agent))
    held = await seats.held_by(tx, [(account, agent)])
    known = at.work.directories[account].agents[agent]
    if seat is not None and (account, agent) in at.work.acted:
        presence.come_back(seat, now())
    candidate = None if seat is None else assignment.candidate_of(seat, known, held[account, agent], now().date())
    if candidate is None or not candidate.is_here:
        raise refusals.CannotTake(f"agent {agent} is not available")
    if at.ticket.takes_capacity and not candidate.has_room_for(at.ticket.channel):
        raise refusals.CannotTake(f"agent {agent} has no room for another {at.ticket.channel}")


@contextmanager
def refusals_as_problems() -> Iterator[None]:
    """The rules' refusals as problems."""
    try:
        yield
    except refusals.WrongState as refused:
        raise problems.Conflict(str(refused), possible=refused.possible) from None
    except refusals.CommandRefused as refused:
        raise problems.Conflict(str(refused)) from None
