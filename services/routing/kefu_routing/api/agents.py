"""Agents at work: signing in, presence, their offers; and whether a site can be reached."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints
from starlette.responses import Response

from kefu_common.events.agents import AgentPresenceChanged, AgentSignedIn, AgentSignedOut
from kefu_common.events.words import PresenceState
from kefu_common.given import NO_NUL, Given
from kefu_common.http import problems
from kefu_common.http.auth import Principal
from kefu_common.http.lists import Page
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_routing.api.context import (
    Answer,
    Empty,
    Service,
    Who,
    acting_agent,
    body_of,
    directory_of,
    now,
    respond,
    run,
    trace_of,
)
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.work import Work
from kefu_routing.handlers.presence import take_offers_back
from kefu_routing.store import directory as directory_store
from kefu_routing.store import seats
from kefu_routing.store import work as store

router = APIRouter(prefix="/v1", tags=["agents"])
_ERRORS = problems.declared(400, 401, 403, 404, 409, 422, 503)


class SignIn(Given):
    """Without a sign of life for `lease_s` seconds the agent is away; 0: no lease."""

    lease_s: int = Field(default=30, ge=0, le=86_400)


class SetPresence(Given):
    """What the agent does from now on."""

    state: PresenceState
    reason: Annotated[str, StringConstraints(max_length=200, pattern=NO_NUL)] | None = None


@router.post("/agents/{id}/sign-in", responses=_ERRORS)
async def sign_in(id: str, request: Request, who: Who, service: Service) -> Response:
    """Take a seat (H-01). Signing in again only renews the lease. `409` with who holds the seats when none is free."""
    body = await body_of(request, SignIn)

    async def command(tx: Connection) -> Answer:
        await directory_store.lock_account(tx, who.account)
        directory = await _of_agent(tx, service, who, id)
        holders = await seats.signed_in(tx, who.account)
        before = await seats.lock(tx, [(who.account, id)])
        state = before[who.account, id].state
        if state is not None and state is not PresenceState.AWAY:
            await seats.renew_lease(tx, who.account, id, body.lease_s)
            return Answer(await _presence(tx, who.account, id))
        licensed = directory.account.licensed_seats
        if state is None and len(holders) >= licensed:
            raise problems.Conflict(f"all {licensed} licensed seats are taken", licensed=licensed, holders=holders)
        await seats.set_state(tx, who.account, id, PresenceState.AVAILABLE, None, body.lease_s)
        work = Work({who.account: directory}, new_id)
        event = AgentSignedIn if state is None else AgentPresenceChanged
        work.agent_did(who.account, id, event, now(), trace_of(request), state=PresenceState.AVAILABLE)
        await store.save(tx, work)
        return Answer(await _presence(tx, who.account, id), groups=_groups_of(directory, id))

    return await run(request, who, service, body, command)


@router.post("/agents/{id}/sign-out", responses=_ERRORS)
async def sign_out(id: str, request: Request, who: Who, service: Service) -> Response:
    """Leave the seat. What is offered goes back to its queue; what is in hand stays with the agent."""
    body = await body_of(request, Empty)

    async def command(tx: Connection) -> Answer:
        await directory_store.lock_account(tx, who.account)
        directory = await _of_agent(tx, service, who, id)
        before = await seats.lock(tx, [(who.account, id)])
        await seats.set_state(tx, who.account, id, None, None, None)
        work = Work({who.account: directory}, new_id)
        await take_offers_back(tx, work, [(who.account, id)], now())
        if before[who.account, id].state is not None:
            work.agent_did(who.account, id, AgentSignedOut, now(), trace_of(request))
        await store.save(tx, work)
        return Answer(await _presence(tx, who.account, id), groups=frozenset(work.groups_to_assign))

    return await run(request, who, service, body, command)


@router.post("/agents/{id}/heartbeat", responses=_ERRORS)
async def heartbeat(id: str, request: Request, who: Who, service: Service) -> Response:
    """A sign of life: renews the lease. `409` when the agent is not signed in."""
    body = await body_of(request, Empty)

    async def command(tx: Connection) -> Answer:
        await _of_agent(tx, service, who, id)
        if not await seats.renew_lease(tx, who.account, id):
            raise problems.Conflict(f"the agent {id} is not signed in", possible=["sign-in"])
        return Answer(await _presence(tx, who.account, id))

    return await run(request, who, service, body, command)


@router.put("/agents/{id}/presence", responses=_ERRORS)
async def set_presence(id: str, request: Request, who: Who, service: Service) -> Response:
    """Change what the agent does. Whoever goes away gives back what is offered."""
    body = await body_of(request, SetPresence)

    async def command(tx: Connection) -> Answer:
        directory = await _of_agent(tx, service, who, id)
        before = (await seats.lock(tx, [(who.account, id)]))[who.account, id]
        if before.state is None:
            raise problems.Conflict(f"the agent {id} is not signed in", possible=["sign-in"])
        await seats.set_state(tx, who.account, id, body.state, body.reason, None)
        work = Work({who.account: directory}, new_id)
        if body.state is not PresenceState.AVAILABLE:
            await take_offers_back(tx, work, [(who.account, id)], now())
        if body.state is not before.state:
            work.agent_did(who.account, id, AgentPresenceChanged, now(), trace_of(request), state=body.state)
        await store.save(tx, work)
        return Answer(await _presence(tx, who.account, id), groups=_groups_of(directory, id) | work.groups_to_assign)

    return await run(request, who, service, body, command)


@router.get("/agents/{id}/offers", responses=_ERRORS)
async def open_offers(id: str, page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """The agent's open offers, oldest first."""
    who.need("tickets:read")
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        if id not in directory.agents:
            raise problems.NotFound(f"there is no agent {id}")
        rows = await seats.open_offers(tx, who.account, id, page.after_id(), page.limit + 1)
    return respond(Answer(page.of([dict(r) for r in rows], lambda offer: offer["id"])))


async def _of_agent(tx: Connection, service: Service, who: Principal, id: str) -> AccountDirectory:
    """The account's directory, once it is sure that the caller may speak for the agent."""
    directory = await directory_of(tx, service, who)
    if id not in directory.agents:
        raise problems.NotFound(f"there is no agent {id}")
    acting = acting_agent(who, directory)
    leads = {g.leader for g in directory.groups.values() if id in g.agents}
    is_over = acting in leads or "administrator" in directory.agents[acting].roles
    if acting != id and not is_over:
        raise problems.Forbidden(f"{acting} may not act for {id}: only {id}, a leader or an administrator may")
    return directory


async def _presence(tx: Connection, account: str, agent: str) -> dict[str, object]:
    row = await seats.shown(tx, account, agent)
    return dict(row) if row else {"agent": agent, "state": None, "reason": None, "since": None, "lease_until": None}


def _groups_of(directory: AccountDirectory, agent: str) -> frozenset[tuple[str, str]]:
    return frozenset((directory.account.id, g.id) for g in directory.groups.values() if agent in g.agents)
