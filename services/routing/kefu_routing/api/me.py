"""The signed-in agent's own: profile (D-04), password, second factor."""

import secrets as random
from base64 import b32encode
from dataclasses import replace
from typing import Any, Final

import pyotp
from fastapi import APIRouter, Request
from starlette.responses import Response

from kefu_common.events.directory import Agent, EmailAddress, Name, Phone
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.ids import new_id
from kefu_common.permissions import permissions_of
from kefu_common.postgres.database import Connection
from kefu_routing.api.context import (
    Answer,
    Routing,
    Service,
    Who,
    acting_agent,
    body_of,
    directory_of,
    now,
    respond,
    run,
)
from kefu_routing.api.directory import documented_body, need_object, need_whole, put_object
from kefu_routing.api.people import Attempt, Code, Password, People, SigningIn, need_good_password, need_sealing, opened
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.signing_in import fingerprint, step_of
from kefu_routing.domain.work import Work
from kefu_routing.handlers.presence import act
from kefu_routing.store import directory as directory_store
from kefu_routing.store import people as store
from kefu_routing.store import seats, sessions
from kefu_routing.store.work import save as save_work

router = APIRouter(prefix="/v1/me", tags=["me"])
_ERRORS = problems.declared(400, 401, 403, 409, 412, 413, 415, 422, 429, 503)
_RECOVERY_CODES: Final = 10
_ISSUER: Final = "Kefu"


class Profile(Given):
    """What agents change of themselves; roles, skills, capacity and login are for administrators."""

    name: Name
    phone: Phone | None = None
    """Where calls ring."""
    email: EmailAddress | None = None
    """Where the link to a new password is mailed."""


class ChangePassword(Given):
    """The password so far, and the new one: 10 to 200 characters."""

    old: Password
    new: Password


class ByPassword(Given):
    """Shows that it is still the agent who is at the keyboard."""

    password: Password


class Confirmation(Given):
    """A code that the agent's device shows."""

    code: Code


@router.get("", responses=_ERRORS)
async def read_me(who: Who, service: Service) -> Response:
    """Who one is, and what one may do, by the roles that one has now."""
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        return respond(await _me(tx, acting_agent(who, directory), directory))


@router.put("", responses=_ERRORS, openapi_extra=documented_body(Profile))
async def change_me(request: Request, who: Who, service: Service) -> Response:
    """Change one's own profile (D-04)."""
    body = await body_of(request, Profile)

    async def command(tx: Connection) -> Answer:
        await directory_store.lock_account(tx, who.account)
        directory = await directory_of(tx, service, who)
        agent = acting_agent(who, directory)
        work = Work({who.account: directory}, new_id)
        await act(tx, work, (who.account, agent), now())
        known = Agent.model_validate(await need_object(tx, who.account, "agent", agent))
        if body.email is not None:
            other = await store.by_address(tx, who.account, body.email)
            if other not in (None, agent):
                raise problems.Invalid([("email", "another agent has this address")])
        changed = known.model_copy(update=body.model_dump())
        need_whole(directory, changed)
        await put_object(tx, request, who, who.account, "agent", changed)
        await save_work(tx, work)
        answer = await _me(tx, agent, await directory_store.read_fresh(tx, who.account))
        return replace(answer, groups=frozenset(work.groups_to_assign))

    return await run(request, who, service, body, command)


@router.put("/password", status_code=204, responses=_ERRORS, openapi_extra=documented_body(ChangePassword))
async def change_password(request: Request, who: Who, service: Service, people: People) -> Response:
    """Change one's own password. Ends all other sessions."""
    body = await body_of(request, ChangePassword)
    agent = await _need_password(who.account, who.need_agent(), service, people, "old", body.old)
    need_good_password("new", body.new, [agent.name, agent.login, agent.email, agent.id])
    hash = await people.passwords.hash(body.new)
    async with service.db.transaction() as tx:
        await store.set_password(tx, who.account, agent.id, hash, now())
        await sessions.end_all(tx, who.account, agent.id, but=who.session)
    return respond(Answer(None, 204))


@router.post("/second-factor", status_code=201, responses=_ERRORS, openapi_extra=documented_body(ByPassword))
async def enrol(request: Request, who: Who, service: Service, people: People) -> Response:
    """Begin a second factor (TOTP, RFC 6238): the secret for the device, shown once. In force once confirmed."""
    need_sealing(service)
    body = await body_of(request, ByPassword)
    agent = await _need_password(who.account, who.need_agent(), service, people, "password", body.password)
    secret = pyotp.random_base32()
    async with service.db.transaction() as tx:
        if not await store.enrol(tx, who.account, agent.id, service.sealer.seal(secret)):
            raise problems.Conflict("there is a second factor already: remove it first")
    uri = pyotp.TOTP(secret).provisioning_uri(name=agent.login or agent.id, issuer_name=_ISSUER)
    return respond(Answer({"secret": secret, "uri": uri}, 201))


@router.post("/second-factor/confirm", responses=_ERRORS, openapi_extra=documented_body(Confirmation))
async def confirm(request: Request, who: Who, service: Service) -> Response:
    """Show a first code: from now on one is asked for. Answers recovery codes, shown once, each good for once."""
    need_sealing(service)
    body = await body_of(request, Confirmation)
    agent, at = who.need_agent(), now()
    codes = [b32encode(random.token_bytes(10)).decode() for _ in range(_RECOVERY_CODES)]
    async with service.db.transaction() as tx:
        known = await store.factor(tx, who.account, agent)
        if known is None or known.is_confirmed:
            raise problems.Conflict("there is no second factor that waits for a first code")
        step = step_of(opened(service, known.sealed), body.code, at, known.last_step)
        if step is None:
            raise problems.Invalid([("code", "expected the code that the device shows now")])
        kept = [fingerprint(code) for code in codes]
        if not await store.confirm(tx, who.account, agent, step, kept, at):
            raise problems.Conflict("there is no second factor that waits for a first code")
    shown = [f"{code[:4]}-{code[4:8]}-{code[8:12]}-{code[12:]}" for code in codes]
    return respond(Answer({"recovery_codes": shown}))


@router.post("/second-factor/remove", status_code=204, responses=_ERRORS, openapi_extra=documented_body(ByPassword))
async def remove(request: Request, who: Who, service: Service, people: People) -> Response:
    """Ask for no second factor any more."""
    body = await body_of(request, ByPassword)
    agent = await _need_password(who.account, who.need_agent(), service, people, "password", body.password)
    async with service.db.transaction() as tx:
        if not await store.remove_factor(tx, who.account, agent.id):
            raise problems.Conflict("there is no second factor")
    return respond(Answer(None, 204))


async def _need_password(account: str, id: str, service: Routing, people: SigningIn, path: str, password: str) -> Agent:
    """The agent, whose password this is. Raises `Invalid`, `TooManyRequests` as signing in does."""
    agent = await store.agent(service.db.pool, account, id)
    if agent is None:
        raise problems.Forbidden(f"there is no agent {id}")
    attempt = await Attempt.begin(service, account, agent.login or agent.id, now())
    hash = await store.password_hash(service.db.pool, account, id)
    if not await people.passwords.is_right(hash, password):
        raise problems.Invalid([(path, "expected the agent's password")])
    async with service.db.transaction() as tx:
        await attempt.was_right(tx)
    return agent


async def _me(tx: Connection, agent: str, directory: AccountDirectory) -> Answer:
    me = directory.agents[agent]
    body = me.model_dump(mode="json")
    groups = [g for g in directory.groups.values() if agent in g.agents]
    factor = await store.factor(tx, directory.account.id, agent)
    found = await directory_store.get(tx, directory.account.id, "agent", agent)
    shown: dict[str, Any] = {
        "account": directory.account.id,
        **{name: body[name] for name in ("id", "name", "login", "phone", "email", "roles", "skills", "capacity")},
        "permissions": sorted(permissions_of(me.roles, directory.roles)),
        "groups": [{"id": g.id, "name": g.name, "leads": g.leader == agent} for g in groups],
        "presence": await _presence(tx, directory.account.id, agent),
        "second_factor": factor is not None and factor.is_confirmed,
    }
    return Answer(shown, etag=None if found is None else str(found[1]))


async def _presence(tx: Connection, account: str, agent: str) -> dict[str, Any]:
    row = (await seats.shown(tx, account, [agent])).get(agent)
    return {name: row[name] if row else None for name in ("state", "reason", "since", "lease_until")}
