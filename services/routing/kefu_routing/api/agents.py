"""Agents at work: signing in, presence, their offers; and whether a site can be reached."""

from datetime import timedelta
from typing import Annotated, Literal

from asyncpg import Record
from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints, model_validator
from starlette.responses import Response

from kefu_common.events.agents import AgentPresenceChanged, AgentSignedIn, AgentSignedOut
from kefu_common.events.words import Channel, PresenceState
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
from kefu_routing.domain import presence
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.work import Work
from kefu_routing.handlers.presence import return_to, take_offers_back
from kefu_routing.store import directory as directory_store
from kefu_routing.store import seats
from kefu_routing.store import work as store

router = APIRouter(prefix="/v1", tags=["agents"])
_ERRORS = problems.declared(400, 401, 403, 404, 409, 422, 503)


class SignIn(Given):
    """Without a sign of life for `lease_s` seconds the agent is away; 0: no lease."""

    lease_s: int = Field(default=30, ge=0, le=86_400)


class PresencePage(Page):
    """Filters of the list."""

    group: str | None = None
    state: Literal["available", "busy", "break", "after_call", "away", "signed_out"] | None = None


class SetPresence(Given):
    """What the agent does from now on, or next: when what is in hand has ended."""

    state: PresenceState
    reason: Annotated[str, StringConstraints(max_length=200, pattern=NO_NUL)] | None = None
    next: bool = False
    """After what is in hand; until then nothing new comes."""
    for_s: Annotated[int, Field(ge=1, le=3600)] | None = None
    """After-call work ends by itself after so many seconds; unset: when the agent says so."""

    @model_validator(mode="after")
    def _only_after_call_is_timed(self) -> "SetPresence":
        if self.for_s is not None and (self.state is not PresenceState.AFTER_CALL or self.next):
            raise ValueError("for_s: expected only with the state after_call, from now on")
        return self


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
        await seats.sign_in(tx, who.account, id, body.lease_s)
        work = Work({who.account: directory}, new_id)
        event = AgentSignedIn if state is None else AgentPresenceChanged
        work.agent_did(who.account, id, event, now(), trace_of(request), state=PresenceState.AVAILABLE)
        await return_to(tx, work, (who.account, id))
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
        await seats.sign_out(tx, who.account, id)
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
        state, _reason = await seats.renew_lease(tx, who.account, id)
        if state is None:
            raise problems.Conflict(f"the agent {id} is not signed in", possible=["sign-in"])
        return Answer(await _presence(tx, who.account, id))

    return await run(request, who, service, body, command)


@router.put("/agents/{id}/presence", responses=_ERRORS)
async def set_presence(id: str, request: Request, who: Who, service: Service) -> Response:
    """Change what the agent does, now or after what is in hand. Who takes nothing new gives back what is offered."""
    body = await body_of(request, SetPresence)

    async def command(tx: Connection) -> Answer:
        directory = await _of_agent(tx, service, who, id)
        key = (who.account, id)
        # What a leader does is no sign of life of the agent's client.
        is_their_own = acting_agent(who, directory) == id
        if is_their_own:
            await seats.renew_lease(tx, *key)
        seat = (await seats.lock(tx, [key]))[key]
        if seat.state is None:
            raise problems.Conflict(f"the agent {id} is not signed in", possible=["sign-in"])
        work = Work({who.account: directory}, new_id)
        if body.next and (await seats.in_hand(tx, [key]))[key] > 0:
            presence.plan_next(seat, body.state, body.reason)
        else:
            until = now() + timedelta(seconds=body.for_s) if body.for_s is not None else None
            if presence.set_state(seat, body.state, body.reason, now(), until):
                work.agent_did(*key, AgentPresenceChanged, now(), trace_of(request), state=body.state)
        if seat.state is not PresenceState.AVAILABLE or seat.next_state is not None:
            await take_offers_back(tx, work, [key], now())
        elif is_their_own:
            await return_to(tx, work, key)
        await seats.save(tx, [seat])
        await store.save(tx, work)
        return Answer(await _presence(tx, *key), groups=_groups_of(directory, id) | work.groups_to_assign)

    return await run(request, who, service, body, command)


@router.get("/presence", responses=_ERRORS)
async def list_presence(page: Annotated[PresencePage, Query()], who: Who, service: Service) -> Response:
    """What all agents do, by id, and how much of each channel they hold; `state` is null for who is signed out."""
    who.need("tickets:read")
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        if page.group is not None and page.group not in directory.groups:
            raise problems.Invalid([("group", f"there is no group {page.group}")])
        team = directory.agents if page.group is None else directory.groups[page.group].agents
        agents = sorted(id for id in team if id in directory.agents and id > (page.after() or ""))
        rows = await seats.shown(tx, who.account, agents)
        if page.state is not None:
            wanted = None if page.state == "signed_out" else page.state
            agents = [id for id in agents if _shown(id, rows.get(id))["state"] == wanted]
        agents = agents[: page.limit + 1]
        held = await seats.held_by(tx, [(who.account, id) for id in agents])
    channels = {id: {channel: held[who.account, id].get(channel, 0) for channel in Channel} for id in agents}
    return respond(Answer(page.of(agents, lambda id: id, lambda id: _shown(id, rows.get(id)) | {"held": channels[id]})))


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
    if acting != id and acting not in leads and "agents:lead" not in who.permitted:
        raise problems.Forbidden(f"{acting} may not act for {id}: only {id}, a leader of theirs or agents:lead may")
    return directory


_PRESENCE = ("agent", "state", "reason", "since", "next_state", "next_reason", "until", "lease_until")


async def _presence(tx: Connection, account: str, agent: str) -> dict[str, object]:
    return _shown(agent, (await seats.shown(tx, account, [agent])).get(agent))


def _shown(agent: str, row: Record | None) -> dict[str, object]:
    return dict(row) if row is not None else dict.fromkeys(_PRESENCE) | {"agent": agent}


def _groups_of(directory: AccountDirectory, agent: str) -> frozenset[tuple[str, str]]:
    return frozenset((directory.account.id, group) for group in directory.groups_of.get(agent, ()))
