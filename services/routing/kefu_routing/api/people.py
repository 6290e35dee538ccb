"""What the routes for people share: hashing, how attempts are counted, how a session is given."""

import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, Request
from pydantic import StringConstraints

from kefu_common import tokens
from kefu_common.given import NO_NUL
from kefu_common.http import problems
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_common.sealing import CannotOpen
from kefu_common.telemetry import logs
from kefu_common.tokens import Claims
from kefu_routing.api.context import Routing
from kefu_routing.api.hashing import Passwords
from kefu_routing.domain.signing_in import (
    LONGEST_PASSWORD,
    Attempts,
    Session,
    fingerprint,
    password_fault,
    plain_code,
    session_end,
    step_of,
)
from kefu_routing.settings import Issuer
from kefu_routing.store import people as store
from kefu_routing.store import secrets, sessions

log = logs.get(__name__)

Login = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=4 * LONGEST_PASSWORD)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=40)]
_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class SigningIn:
    """What the service has for people who sign in; the app keeps it as `app.state.signing_in`."""

    passwords: Passwords
    issuers: Mapping[str, Issuer]
    """Of OpenID Connect, by account."""
    reset_url: str
    """Where a page asks for the new password; `{token}` stands for the link's token."""

    def reset_link(self, token: str) -> str:
        """What is mailed: the page with the token in it; without a page the token alone."""
        return self.reset_url.replace("{token}", quote(token, safe="")) if self.reset_url else token


def signing_in(request: Request) -> SigningIn:
    """The service's of this request. A FastAPI dependency."""
    found: SigningIn = request.app.state.signing_in
    return found


People = Annotated[SigningIn, Depends(signing_in)]


class SignInRefused(problems.Unauthorized):
    """Whoever wants to sign in has not shown that they may."""

    title, slug = "Not signed in", "sign-in-refused"


def need_sealing(service: Routing) -> None:
    """Raises `Unavailable` where nothing can be sealed: tokens could not be signed."""
    if not service.sealer.is_able:
        raise problems.Unavailable("nobody can sign in here: the operator has not set KEFU_SEALING_KEYS", 60)


def opened(service: Routing, sealed: str) -> str:
    """What was sealed. Raises `Unavailable` when it was with a key that is no longer set."""
    try:
        return service.sealer.open(sealed)
    except CannotOpen as error:
        log.error("sign_in_not_possible", hint="add the former key to KEFU_SEALING_KEYS", error=str(error))
        raise problems.Unavailable("nobody can sign in here: a sealing key is missing", 60) from None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that is under way, and counts as failed until it is something else."""

    account: str
    login: bytes
    before: Attempts | None

    @classmethod
    async def begin(cls, service: Routing, account: str, login: str, now: datetime) -> "Attempt":
        """Count it. Raises `TooManyRequests` while nothing is looked at, for logins that nobody has, too."""
        typed = fingerprint(login.lower())
        async with service.db.transaction() as tx:
            wait_s, before = await sessions.begin_attempt(tx, account, typed, now)
        if wait_s > 0:
            headers = {"Retry-After": str(ceil(wait_s))}
            raise problems.TooManyRequests("too many failed attempts: try again later", headers=headers)
        return cls(account, typed, before)

    async def was_right(self, tx: Connection) -> None:
        """Nothing has failed any more."""
        await sessions.forget_attempts(tx, self.account, self.login)

    async def was_no_guess(self, service: Routing) -> None:
        """As if it had not been."""
        async with service.db.transaction() as tx:
            await sessions.take_back(tx, self.account, self.login, self.before)


async def is_code_right(tx: Connection, service: Routing, account: str, agent: str, code: str, now: datetime) -> bool:
    """Whether the code is one of the agent's second factor, or a recovery code; it counts once only."""
    known = await store.factor(tx, account, agent)
    if known is None:
        return False
    step = step_of(opened(service, known.sealed), code, now, known.last_step)
    if step is not None:
        return await store.use_step(tx, account, agent, step)
    return await store.use_recovery(tx, account, agent, fingerprint(plain_code(code)))


async def give_session(tx: Connection, service: Routing, account: str, agent: str, now: datetime) -> dict[str, Any]:
    """A new session of the agent, as it is answered."""
    id, renewal = new_id(), random.token_urlsafe(_BITS)
    ends_at = session_end(now, now)
    made = Session(id, account, agent, fingerprint(renewal), None, now, now, ends_at)
    await sessions.add(tx, made)
    return await shown_session(tx, service, made, renewal, ends_at, now)


async def shown_session(
    tx: Connection, service: Routing, session: Session, renewal: str, ends_at: datetime, now: datetime
) -> dict[str, Any]:
    """A session as its agent is given it: a token, and what renews it."""
    sealed = await secrets.token_secret(tx, session.account)
    if sealed is None:
        raise problems.Unavailable("nobody can sign in to this account before routing was restarted", 60)
    secret = opened(service, sealed)
    return {
        "token": tokens.make(Claims(session.account, session.agent, session.id), secret, now),
        "expires_at": now + tokens.LASTS,
        "agent": session.agent,
        "session": session.id,
        "renewal": f"{session.id}.{renewal}",
        "renewal_expires_at": ends_at,
    }


def parse_renewal(renewal: str) -> tuple[UUID, str] | None:
    """Session and secret of what a session was answered with; None when it is no such thing."""
    id, _, secret = renewal.partition(".")
    try:
        return UUID(id), secret
    except ValueError:
        return None


def need_good_password(path: str, password: str, names: list[str | None]) -> None:
    """Raises `Invalid` for a password that nobody should have."""
    fault = password_fault(password, [name for name in names if name])
    if fault is not None:
        raise problems.Invalid([(path, fault)])
