"""New passwords: by a link that is mailed to the agent (D-12), and by an administrator."""

import secrets as random

from fastapi import APIRouter, Request
from starlette.responses import Response

from kefu_common.events.directory import ObjectId
from kefu_common.events.envelope import Event
from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Occasion
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.ids import new_id
from kefu_common.kafka import topics
from kefu_common.postgres import outbox
from kefu_common.postgres.database import Connection
from kefu_routing.api.context import Answer, Routing, Service, Who, body_of, now, respond, trace_of
from kefu_routing.api.directory import documented_body
from kefu_routing.api.people import Login, Password, People, SigningIn, need_good_password, need_sealing
from kefu_routing.domain.signing_in import RESET_LASTS, fingerprint, may_mail_reset
from kefu_routing.store import people as store
from kefu_routing.store import sessions

router = APIRouter(prefix="/v1", tags=["passwords"])
_ERRORS = problems.declared(400, 404, 413, 415, 422, 503)


class ResetWanted(Given):
    """Who has forgotten their password, or never had one."""

    account: ObjectId
    login: Login


class NewPassword(Given):
    """A new password: 10 to 200 characters."""

    password: Password


@router.post("/password-resets", status_code=202, responses=_ERRORS, openapi_extra=documented_body(ResetWanted))
async def mail_reset(request: Request, service: Service, people: People) -> Response:
    """Mail the agent a link to a new password, good for 30 minutes and for once. `202` whether there is one or not."""
    body = await body_of(request, ResetWanted)
    need_sealing(service)
    async with service.db.transaction() as tx:
        known = await store.by_login(tx, body.account, body.login)
        if known is not None:
            await _mail(tx, request, service, people, body.account, known.agent)
    service.committed(set())
    return respond(Answer({}, 202))


@router.post("/password-resets/{token}", status_code=204, responses=_ERRORS, openapi_extra=documented_body(NewPassword))
async def use_reset(token: str, request: Request, service: Service, people: People) -> Response:
    """Set a new password by a link. `404` for one that is over, used or unknown. Ends all sessions of the agent."""
    body = await body_of(request, NewPassword)
    at, mark = now(), fingerprint(token)
    of = await store.of_reset(service.db.pool, mark, at)
    agent = None if of is None else await store.agent(service.db.pool, *of)
    if of is None or agent is None:
        raise problems.NotFound("the link is not good any more: ask for another")
    need_good_password("password", body.password, [agent.name, agent.login, agent.email, agent.id])
    hash = await people.passwords.hash(body.password)
    async with service.db.transaction() as tx:
        if not await store.use_reset(tx, mark, at):
            raise problems.NotFound("the link is not good any more: ask for another")
        await store.set_password(tx, *of, hash, at)
        await sessions.end_all(tx, *of)
        await sessions.forget_attempts(tx, of[0], fingerprint((agent.login or agent.id).lower()))
    return respond(Answer(None, 204))


@router.put(
    "/agents/{id}/password",
    status_code=204,
    responses=problems.declared(400, 401, 403, 404, 413, 415, 422, 503),
    openapi_extra=documented_body(NewPassword),
)
async def set_password(id: str, request: Request, who: Who, service: Service, people: People) -> Response:
    """Give an agent a password, for an administrator. Ends all sessions of the agent."""
    body = await body_of(request, NewPassword)
    agent = await store.agent(service.db.pool, who.account, id)
    if agent is None:
        raise problems.NotFound(f"there is no agent {id}")
    need_good_password("password", body.password, [agent.name, agent.login, agent.email, agent.id])
    hash = await people.passwords.hash(body.password)
    async with service.db.transaction() as tx:
        await store.set_password(tx, who.account, id, hash, now())
        await sessions.end_all(tx, who.account, id)
        await sessions.forget_attempts(tx, who.account, fingerprint((agent.login or agent.id).lower()))
    return respond(Answer(None, 204))


@router.delete("/agents/{id}/second-factor", status_code=204, responses=problems.declared(401, 403, 404, 503))
async def remove_second_factor(id: str, who: Who, service: Service) -> Response:
    """Take the second factor off an agent who has lost it, for an administrator."""
    async with service.db.transaction() as tx:
        if not await store.remove_factor(tx, who.account, id):
            raise problems.NotFound(f"there is no second factor of an agent {id}")
    return respond(Answer(None, 204))


async def _mail(
    tx: Connection, request: Request, service: Routing, people: SigningIn, account: str, agent: str
) -> None:
    """Sealed: the link opens an account, and the message that carries it is kept for days in topics and tables."""
    at = now()
    if not may_mail_reset(await store.open_resets(tx, account, agent, at)):
        return
    token = random.token_urlsafe(32)
    await store.add_reset(tx, account, agent, fingerprint(token), at, at + RESET_LASTS)
    wanted = MessageWanted(
        occasion=Occasion.PASSWORD_RESET, agent=agent, text=service.sealer.seal(people.reset_link(token))
    )
    event: Event[MessageWanted] = Event(
        new_id(), "kefu.message.wanted", "/people", agent, at, account, wanted, traceparent=trace_of(request)
    )
    await outbox.add(tx, [outbox.event_row(topics.MESSAGES, account, event)])
