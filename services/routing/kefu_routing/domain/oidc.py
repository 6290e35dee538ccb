"""Signing in by an account's own OpenID Connect provider: what is asked of it, and what its answers must show. (D-12)

Source: OpenID Connect Core 1.0, 3.1 (authorization code flow); RFC 7636 (PKCE).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import jwt

ALGORITHMS: Final = ("RS256", "ES256")
DEPARTURE_LASTS: Final = timedelta(minutes=10)
"""So long somebody may take to sign in at the provider."""
_CLOCKS_DIFFER: Final = timedelta(minutes=1)
_MUST_SAY: Final = ("iss", "sub", "aud", "exp")


class NotUsable(Exception):
    """What a provider says of itself is nothing that one can sign in with; the operator must see to it."""


class NotProven(Exception):
    """An answer does not show who somebody is."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    takes_basic: bool
    """Whether the client's secret goes into the `Authorization` header, as is usual; else into the form."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody who has left for the provider, and what they must come back with."""

    account: str
    state: str
    nonce: str
    verifier: str
    """Of PKCE."""
    redirect_uri: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says that it is; an address only when the provider has verified it."""

    username: str | None
    email: str | None


def provider_of(document: object, issuer: str) -> Provider:
    """A provider by its discovery document. Raises `NotUsable`."""
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise NotUsable(f"its discovery document is not that of the issuer {issuer}")
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    for name in names:
        if not _is_url(document.get(name)):
            raise NotUsable(f"its discovery document has no usable {name}")
    offered = document.get("token_endpoint_auth_methods_supported")
    # None named means that it is offered (OpenID Connect Discovery 1.0, 3).
    takes_basic = not isinstance(offered, list) or not offered or "client_secret_basic" in offered
    authorization, token, keys = (document[name] for name in names)
    return Provider(issuer, authorization, token, keys, takes_basic)


def authorization_url(provider: Provider, client_id: str, departure: Departure) -> str:
    """Where the browser goes to sign in."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": departure.redirect_uri,
        "scope": "openid profile email",
        "state": departure.state,
        "nonce": departure.nonce,
        "code_challenge": _challenge(departure.verifier),
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(asked)}"


def is_back(departure: Departure, state: str, now: datetime) -> bool:
    """Whether it is they who come back, and in time."""
    return hmac.compare_digest(departure.state.encode(), state.encode()) and now < departure.expires_at


def key_of(token: str, keys: object) -> jwt.PyJWK | None:
    """The provider's key by which the token says that it is signed; None when it is not among these.

    Raises:
        NotProven: the token is none, or not signed by one of `ALGORITHMS`.
        NotUsable: the keys are none.
    """
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotProven("the id token cannot be read") from None
    if header.get("alg") not in ALGORITHMS:
        raise NotProven(f"the id token is not signed by {' or '.join(ALGORITHMS)}")
    try:
        known = jwt.PyJWKSet.from_dict(keys if isinstance(keys, dict) else {}).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        raise NotUsable("its keys cannot be read") from None
    fitting = [key for key in known if key.algorithm_name == header["alg"] and key.public_key_use in (None, "sig")]
    if "kid" in header:
        return next((key for key in fitting if key.key_id == header["kid"]), None)
    return fitting[0] if len(fitting) == 1 else None


def read_id_token(
    token: str, key: jwt.PyJWK, client_id: str, departure: Departure, issuer: str, now: datetime
) -> Person:
    """Who a genuine id token of this departure says that it is. Raises `NotProven`."""
    try:
        said = jwt.decode(
            token,
            key,
            ALGORITHMS,
            audience=client_id,
            issuer=issuer,
            options={"require": list(_MUST_SAY), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        is_over = now.timestamp() >= float(said["exp"]) + _CLOCKS_DIFFER.total_seconds()
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise NotProven(f"the id token is not valid: {type(error).__name__}") from None
    if is_over:
        raise NotProven("the id token is over")
    _need_for_us(said, client_id)
    nonce = said.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), departure.nonce.encode()):
        raise NotProven("the id token belongs to another sign-in")
    is_verified = said.get("email_verified") is True
    return Person(_text(said.get("preferred_username")), _text(said.get("email")) if is_verified else None)


def _need_for_us(said: Mapping[str, Any], client_id: str) -> None:
    """Raises `NotProven` for a token that was given to another client (OpenID Connect Core 1.0, 3.1.3.7)."""
    audience = said["aud"]
    is_for_several = isinstance(audience, list) and len(audience) > 1
    if said.get("azp", None if is_for_several else client_id) != client_id:
        raise NotProven("the id token was given to another client")


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or any(c.isspace() or c == "#" for c in value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _text(value: object) -> str | None:
    """Nobody's name is longer, and none has a NUL in it."""
    return value if isinstance(value, str) and 0 < len(value) <= 320 and "\x00" not in value else None
