"""Signing in by the account's own OpenID Connect provider (D-12)."""

import re
import secrets as random
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import RedirectResponse, Response

from kefu_common.http import problems
from kefu_common.sealing import CannotOpen
from kefu_routing.api.context import Answer, Routing, Service, now, respond
from kefu_routing.api.issuers import Issuers
from kefu_routing.api.people import People, SigningIn, SignInRefused, give_session, need_sealing
from kefu_routing.domain.oidc import (
    DEPARTURE_LASTS,
    Departure,
    NotProven,
    Person,
    authorization_url,
    is_back,
    read_id_token,
)
from kefu_routing.domain.signing_in import fingerprint
from kefu_routing.settings import Issuer
from kefu_routing.store import people as store
from kefu_routing.store import sessions

router = APIRouter(prefix="/v1/sessions/oidc", tags=["sessions"])
_COOKIE: Final = "kefu_sign_in"
_PATH: Final = "/v1/sessions/oidc"
_BITS: Final = 32
_WORD: Final = re.compile(r"[a-z_]{1,60}")
_DEPARTURE: Final = TypeAdapter(Departure)
_BEGIN_AGAIN: Final = "begin again at /v1/sessions/oidc, in one browser and within ten minutes"


def issuers(request: Request) -> Issuers:
    """The service's of this request. A FastAPI dependency."""
    found: Issuers = request.app.state.issuers
    return found


Providers = Annotated[Issuers, Depends(issuers)]


@router.get("", status_code=302, response_class=RedirectResponse, responses=problems.declared(404, 422, 503))
async def depart(account: str, request: Request, service: Service, people: People, providers: Providers) -> Response:
    """Send the browser to the account's provider. `404` for an account that has none, or that nobody knows."""
    issuer = _issuer(people, account)
    need_sealing(service)
    provider = await providers.provider(issuer)
    base = service.public_url or str(request.base_url).rstrip("/")
    departure = Departure(
        account,
        random.token_urlsafe(_BITS),
        random.token_urlsafe(_BITS),
        random.token_urlsafe(_BITS),
        f"{base}{_PATH}/callback",
        now() + DEPARTURE_LASTS,
    )
    away = RedirectResponse(authorization_url(provider, issuer.client_id, departure), 302)
    away.headers["Cache-Control"] = "no-store"
    away.set_cookie(
        _COOKIE,
        service.sealer.seal(_DEPARTURE.dump_json(departure).decode()),
        max_age=int(DEPARTURE_LASTS.total_seconds()),
        path=_PATH,
        secure=base.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
    return away


@router.get("/callback", status_code=201, responses=problems.declared(401, 404, 422, 503))
async def come_back(
    request: Request,
    service: Service,
    people: People,
    providers: Providers,
    state: str = "",
    code: str = "",
    error: str = "",
    iss: Annotated[str | None, Query()] = None,
) -> Response:
    """Where the provider sends the browser back to. Answers like `POST /v1/sessions`.

    The agent is the one whose `login` is the id token's `preferred_username`, or whose `email` is its verified `email`.
    """
    departure = _departure(service, request.cookies.get(_COOKIE, ""))
    if departure is None or not is_back(departure, state, now()):
        raise SignInRefused(f"nobody has left for the provider from here: {_BEGIN_AGAIN}")
    issuer = _issuer(people, departure.account)
    if error:
        reason = error if _WORD.fullmatch(error) else "an error"
        raise SignInRefused(f"the provider answers {reason}: {_BEGIN_AGAIN}, or ask who keeps the provider")
    if iss not in (None, issuer.issuer) or not code:
        raise SignInRefused(f"this is no answer of the account's provider: {_BEGIN_AGAIN}")
    try:
        person = await _person(providers, issuer, code, departure)
    except NotProven as fault:
        raise SignInRefused(f"{fault}: {_BEGIN_AGAIN}") from None
    answer = await _signed_in(service, departure, person)
    request.scope["kefu.account"] = departure.account
    answer.headers["Cache-Control"] = "no-store"
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer


async def _person(providers: Issuers, issuer: Issuer, code: str, departure: Departure) -> Person:
    provider = await providers.provider(issuer)
    token, key = await providers.id_token(issuer, provider, code, departure)
    return read_id_token(token, key, issuer.client_id, departure, issuer.issuer, now())


async def _signed_in(service: Routing, departure: Departure, person: Person) -> Response:
    at = now()
    async with service.db.transaction() as tx:
        agent = await store.by_claims(tx, departure.account, person.username, person.email)
        if agent is None:
            raise SignInRefused(
                "no agent, or more than one, has the login or the verified address that the provider names:"
                " have an administrator set the agent's login or email"
            )
        if not await sessions.use_departure(tx, fingerprint(departure.state), at, departure.expires_at):
            raise SignInRefused(f"somebody has come back with this already: {_BEGIN_AGAIN}")
        return respond(Answer(await give_session(tx, service, departure.account, agent, at), 201))


def _issuer(people: SigningIn, account: str) -> Issuer:
    found = people.issuers.get(account)
    if found is None:
        raise problems.NotFound("nobody signs in to this account by a provider: sign in with login and password")
    return found


def _departure(service: Routing, cookie: str) -> Departure | None:
    """What the cookie was sealed with; None for one that is none of ours."""
    try:
        return _DEPARTURE.validate_json(service.sealer.open_once(cookie))
    except (CannotOpen, ValidationError):
        return None
