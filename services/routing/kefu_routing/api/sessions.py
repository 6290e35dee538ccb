"""Signing in, renewing, signing out (D-05)."""

import secrets as random
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from kefu_common.events.directory import ObjectId
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.postgres.database import Connection
from kefu_routing.api.context import Answer, Routing, Service, Who, body_of, now, respond
from kefu_routing.api.directory import documented_body
from kefu_routing.api.people import (
    Attempt,
    Code,
    Login,
    Password,
    People,
    SignInRefused,
    give_session,
    is_code_right,
    need_sealing,
    parse_renewal,
    shown_session,
)
from kefu_routing.domain.signing_in import Renewal, fingerprint, judge_renewal, session_end
from kefu_routing.store import people as store
from kefu_routing.store import sessions

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
_ERRORS = problems.declared(400, 401, 413, 415, 422, 429, 503)
_NOT_RIGHT = "account, login or password is not right"
_OVER = "the session has ended: sign in again"


class SignInBody(Given):
    """Who signs in. `login` is the agent's, or, for an agent without one, the agent's id."""

    account: ObjectId
    login: Login
    password: Password
    code: Code | None = None
    """Of the second factor, or a recovery code; only where the agent has a second factor."""


class Renew(Given):
    """What the session was answered with last."""

    renewal: str = Field(min_length=1, max_length=200)


@router.post("", status_code=201, responses=_ERRORS, openapi_extra=documented_body(SignInBody))
async def sign_in(request: Request, service: Service, people: People) -> Response:
    """Sign in. `401` for a wrong password, login or account alike, and with `errors` at `code` when that is missing.

    After some failures nothing is looked at for growing times: `429` with `Retry-After`.
    """
    body = await body_of(request, SignInBody)
    need_sealing(service)
    at = now()
    attempt = await Attempt.begin(service, body.account, body.login, at)
    known = await store.by_login(service.db.pool, body.account, body.login)
    is_right = await people.passwords.is_right(None if known is None else known.hash, body.password)
    if known is None or not is_right:
        raise SignInRefused(_NOT_RIGHT)
    if known.sealed is not None and body.code is None:
        await attempt.was_no_guess(service)
        raise _code_problem("expected a code of the second factor")
    async with service.db.transaction() as tx:
        if known.sealed is not None and not await is_code_right(
            tx, service, body.account, known.agent, body.code or "", at
        ):
            raise _code_problem("expected a code that was not used yet")
        await _need_same(tx, body.account, known.agent, known.hash)
        await attempt.was_right(tx)
        request.scope["kefu.account"] = body.account
        return respond(Answer(await give_session(tx, service, body.account, known.agent, at), 201))


@router.post("/renew", status_code=201, responses=_ERRORS, openapi_extra=documented_body(Renew))
async def renew(request: Request, service: Service) -> Response:
    """A new token, and a new secret that renews. `401` after signing out, and after a change of the password.

    The former secret goes on to renew for a minute, for whoever lost the answer; whoever shows it later ends the
    session, because then two have it.
    """
    body = await body_of(request, Renew)
    need_sealing(service)
    parsed = parse_renewal(body.renewal)
    if parsed is None:
        raise SignInRefused(_OVER)
    answer = await _renewed(service, *parsed, now())
    if answer is None:
        raise SignInRefused(_OVER)
    return respond(answer)


@router.delete("/current", status_code=204, responses=problems.declared(401, 403, 409, 503))
async def sign_out(who: Who, service: Service) -> Response:
    """End the session whose token is sent. Routing refuses the token at once, other services when it is over."""
    if who.session is None:
        raise problems.Conflict("a key was used, which has no session")
    async with service.db.transaction() as tx:
        await sessions.end(tx, who.session)
    return respond(Answer(None, 204))


async def _renewed(service: Routing, id: UUID, shown: str, at: datetime) -> Answer | None:
    async with service.db.transaction() as tx:
        session = await sessions.lock(tx, id)
        verdict = Renewal.REFUSED if session is None else judge_renewal(session, fingerprint(shown), at)
        if session is None or verdict is Renewal.REFUSED:
            return None
        if verdict is Renewal.STOLEN or await store.agent(tx, session.account, session.agent) is None:
            await sessions.end(tx, session.id)
            return None
        secret, ends_at = random.token_urlsafe(32), session_end(session.made_at, at)
        await sessions.renew(tx, session.id, fingerprint(secret), at, ends_at)
        return Answer(await shown_session(tx, service, session, secret, ends_at, at), 201)


async def _need_same(tx: Connection, account: str, agent: str, hash: str | None) -> None:
    """The password may have been changed, or the agent deleted, while it was verified."""
    if await store.agent(tx, account, agent) is None or await store.password_hash(tx, account, agent) != hash:
        raise SignInRefused(_NOT_RIGHT)


def _code_problem(expected: str) -> SignInRefused:
    return SignInRefused("the second factor is missing", errors=[{"path": "code", "message": expected}])
