"""Tokens of people who signed in: JWTs that every service checks by itself (design, section 5).

Signed (HS256) with a secret of the account's own that the directory carries, sealed. A token says who somebody is,
never what they may do: that is what the directory says at the moment of each request.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import jwt

SESSION_SIGNER: Final = "sessions"
"""The directory's id of the secret that signs an account's tokens."""
LASTS: Final = timedelta(minutes=15)
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "kefu"
_BEGINNING: Final = "eyJ"
"""The first letters of every JWT, and of no key of ours."""


class NotValid(Exception):
    """No token, or one that is over, or that somebody else made."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    account: str
    agent: str
    session: UUID


def looks_like_token(secret: str) -> bool:
    """Whether it can be a token at all; an API key cannot."""
    return secret.startswith(_BEGINNING) and secret.count(".") == 2


def make(claims: Claims, secret: str, now: datetime) -> str:
    """A token that lasts for `LASTS` from now."""
    said = {
        "aud": _AUDIENCE,
        "acc": claims.account,
        "sub": claims.agent,
        "sid": str(claims.session),
        "iat": int(now.timestamp()),
        "exp": int((now + LASTS).timestamp()),
    }
    return jwt.encode(said, secret, _ALGORITHM)


def account_of(token: str) -> str:
    """Whose secret will show whether the token is genuine; until then nothing that it says is known to be true.

    Raises:
        NotValid: it names none.
    """
    try:
        account = jwt.decode(token, options={"verify_signature": False}).get("acc")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotValid("it cannot be read") from None
    if not isinstance(account, str):
        raise NotValid("it names no account")
    return account


def read(token: str, secret: str, now: datetime) -> Claims:
    """What a genuine token says. Raises `NotValid`."""
    try:
        said = jwt.decode(
            token,
            secret,
            [_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["exp", "aud", "sub"], "verify_exp": False, "verify_iat": False},
        )
        claims = Claims(said["acc"], said["sub"], UUID(said["sid"]))
        is_over = now.timestamp() >= said["exp"]
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        raise NotValid("it is not genuine") from None
    if is_over:
        raise NotValid("it is over: renew the session, or sign in again")
    return claims
