"""Who acts: API keys with an account, scopes and sites, `act-as` for agents, and people's tokens (design, section 5).

A key is sent (`Authorization: Bearer`) or, if it was made so, signs each request instead (`signing.py`). Whoever signed
in sends a token (`tokens.py`). What a request may do at all stands in each service's table of needs (`needs.py`).
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from fastapi import Request

from kefu_common import tokens
from kefu_common.events.directory import ApiKey
from kefu_common.http import signing
from kefu_common.http.needs import Needs
from kefu_common.http.problems import BadRequest, Forbidden, PayloadTooLarge, Unauthorized
from kefu_common.permissions import PERMISSIONS, scopes_of
from kefu_common.sealing import CannotOpen, Sealer
from kefu_common.settings import ServiceSettings
from kefu_common.telemetry import logs

log = logs.get(__name__)

SCOPES: Final = tuple(PERMISSIONS)
"""What a key may be allowed to do. The account's admin key has all of them."""


class Keys(Protocol):
    """Where keys and people are looked up."""

    async def by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        """The account and key of which a secret has this hash."""

    async def by_id(self, account: str, id: str) -> ApiKey | None:
        """An account's key by its id."""

    async def permissions(self, account: str, agent: str) -> frozenset[str] | None:
        """What the agent's roles permit now; None when the account has no such agent."""

    async def token_secret(self, account: str) -> str | None:
        """The sealed secret that signs the account's tokens; None when it has none."""

    async def is_over(self, session: UUID) -> bool:
        """Whether the session is known to have ended before its token."""


_LARGEST_SIGNED: Final = 1024 * 1024
"""A body is read whole before its signature can be checked; intake, which takes larger ones, reads them itself."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that waits for the body which it is about."""

    signed: signing.Signed
    secrets: tuple[str, ...]
    """Those in force: the key's, and for some time the former one."""
    method: str
    target: str

    def check(self, body: bytes | bytearray) -> None:
        """Raises `Unauthorized` unless one of the secrets signed this request with this body."""
        if not any(self.signed.is_by(secret, self.method, self.target, body) for secret in self.secrets):
            raise Unauthorized("the signature is not that of this key, request and body", headers=_SIGN)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request. `agent` is set when the request acts for one; `account` is empty for the operator."""

    account: str
    key: str
    """Empty for a person with a token."""
    scopes: frozenset[str]
    """What the key, and where the request acts for an agent also their role, permits."""
    adapter: str | None = None
    sites: frozenset[str] | None = None
    agent: str | None = None
    is_operator: bool = False
    rate_per_s: int | None = None
    proof: Proof | None = None
    """Of a signed request: nothing may be done before it is checked against the body."""
    permitted: frozenset[str] = frozenset()
    """What the roles of the agent for whom the request acts permit, whatever the key does."""
    session: UUID | None = None
    """Of a person with a token."""

    def may_use_site(self, site: str) -> bool:
        """Whether the key covers the site."""
        return self.sites is None or site in self.sites

    def need(self, scope: str) -> None:
        """Raises `Forbidden` unless the key has the scope, and the role of an agent who acts the permission."""
        if scope in self.scopes:
            return
        if self.agent is not None:
            self.need_role(scope)
        raise Forbidden(f"the key lacks the scope {scope}")

    def need_role(self, permission: str) -> None:
        """Raises `Forbidden` unless a role of the agent for whom the request acts permits it."""
        agent = self.need_agent()
        if permission not in self.permitted:
            raise Forbidden(f"no role of {agent} has the permission {permission}", permission=permission)

    def need_site(self, site: str) -> None:
        """Raises `Forbidden` unless the key covers the site."""
        if not self.may_use_site(site):
            raise Forbidden(f"the key does not cover the site {site}")

    def need_operator(self) -> None:
        """Raises `Forbidden` unless the operator's key was used."""
        if not self.is_operator:
            raise Forbidden("this needs the operator's key")

    def need_agent(self) -> str:
        """The agent for whom the request acts. Raises `Forbidden` without one."""
        if self.agent is None:
            raise Forbidden(
                "an agent's command needs a token, or the header Kefu-Agent and a key with the scope act-as"
            )
        return self.agent


def new_key(account: str) -> str:
    """A new API key: 256 random bits, with the account in front for people's eyes."""
    return f"kefu_{account}_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """SHA-256 in hex; a key has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


_PROVEN: Final = "kefu.proven"
_BEARER: Final = {"WWW-Authenticate": "Bearer"}
_SIGN: Final = {"WWW-Authenticate": "Kefu-Signature"}


class Authenticator:
    """Turns a request's headers into who acts."""

    def __init__(self, keys: Keys, settings: ServiceSettings) -> None:
        """Raises `ValueError` for sealing keys that are none."""
        self._keys = keys
        self._sealer = Sealer.of(settings.sealing_keys.get_secret_value())
        operator_key = settings.operator_key.get_secret_value()
        self._operator_hash = hash_key(operator_key) if operator_key else None

    async def __call__(self, request: Request) -> Principal:
        """Raises `Unauthorized` without a valid key, `Forbidden` for `Kefu-Agent` without `act-as`.

        Of a signed request only the headers were looked at: see `Principal.proof`.
        """
        headers: dict[bytes, bytes] = dict(request.scope["headers"])  # looked up once, not scanned for each name
        signed = signing.read(headers)
        if signed is not None:
            return await self._signer(signed, request, headers)
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized("send a key: Authorization: Bearer <key>", headers=_BEARER)
        hashed = hash_key(secret.strip())
        if self._operator_hash is not None and hmac.compare_digest(hashed, self._operator_hash):
            return Principal("", "operator", frozenset(), is_operator=True)
        if tokens.looks_like_token(secret):
            return await self._person(secret.strip(), headers)
        found = await self._keys.by_hash(hashed)
        if found is None:
            raise Unauthorized("nobody knows this key", headers=_BEARER)
        account, key = found
        if not key.is_in_force(hashed, datetime.now(UTC)):
            raise Unauthorized("the key has expired", headers=_BEARER)
        return await self._principal(account, key, headers)

    async def _person(self, token: str, headers: dict[bytes, bytes]) -> Principal:
        try:
            account = tokens.account_of(token)
            sealed = await self._keys.token_secret(account)
            if sealed is None:
                raise Unauthorized("nobody has signed in there", headers=_BEARER)
            claims = tokens.read(token, self._sealer.open(sealed), datetime.now(UTC))
        except tokens.NotValid as error:
            raise Unauthorized(f"the token is not valid: {error}", headers=_BEARER) from None
        except CannotOpen as error:
            log.error("token_not_checkable", hint="set KEFU_SEALING_KEYS as in routing", error=str(error))
            raise Unauthorized("tokens cannot be checked here", headers=_BEARER) from None
        permitted = await self._keys.permissions(account, claims.agent)
        if permitted is None or await self._keys.is_over(claims.session):
            raise Unauthorized("the session has ended: sign in again", headers=_BEARER)
        if headers.get(b"kefu-agent", claims.agent.encode()) != claims.agent.encode():
            raise Forbidden("Kefu-Agent: whoever has signed in acts for nobody else")
        return Principal(account, "", permitted, agent=claims.agent, session=claims.session, permitted=permitted)

    async def _signer(self, signed: signing.Signed, request: Request, headers: dict[bytes, bytes]) -> Principal:
        now = datetime.now(UTC)
        key = await self._keys.by_id(signed.account, signed.key)
        if key is None or not key.signed or (key.expires_at is not None and key.expires_at <= now):
            raise Unauthorized("nobody knows this key, or it does not sign", headers=_SIGN)
        # A stream asks again and again, long after the window, whether its key is still in force.
        if not request.scope.get(_PROVEN) and not signed.is_timely(now):
            what = f"Kefu-Timestamp: expected Unix seconds within {signing.WINDOW_S} s of now: check the clock"
            raise Unauthorized(what, headers=_SIGN)
        sealed = [key.sealed, key.former.sealed if key.former is not None and now < key.former.until else None]
        try:
            secrets = tuple(self._sealer.open(each) for each in sealed if each is not None)
        except CannotOpen as error:
            log.error("signature_not_checkable", hint="set KEFU_SEALING_KEYS as in routing", error=str(error))
            raise Unauthorized("signatures cannot be checked here", headers=_SIGN) from None
        target = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"].decode("latin-1"):
            target = f"{target}?{query}"
        proof = Proof(signed, secrets, request.method, target)
        return await self._principal(signed.account, key, headers, proof)

    async def _principal(
        self, account: str, key: ApiKey, headers: dict[bytes, bytes], proof: Proof | None = None
    ) -> Principal:
        scopes = scopes_of(key.scopes)
        sites = None if key.sites is None else frozenset(key.sites)
        acts_for = headers.get(b"kefu-agent")
        if acts_for is None:
            return Principal(account, key.id, scopes, key.adapter, sites, rate_per_s=key.rate_per_s, proof=proof)
        if "act-as" not in scopes:
            raise Forbidden("the key lacks the scope act-as, which the header Kefu-Agent needs")
        agent = acts_for.decode("latin-1")
        permitted = await self._keys.permissions(account, agent)
        if permitted is None:
            raise Forbidden(f"Kefu-Agent: there is no agent {agent}")
        return Principal(
            account,
            key.id,
            scopes & permitted,
            key.adapter,
            sites,
            agent,
            rate_per_s=key.rate_per_s,
            proof=proof,
            permitted=permitted,
        )


async def principal(request: Request) -> Principal:
    """The request's principal, by the app's authenticator, its signature checked. A FastAPI dependency."""
    found = await unproven_principal(request)
    if found.proof is not None:
        found.proof.check(await _small_body(request))
        request.scope[_PROVEN] = True
    return found


async def unproven_principal(request: Request) -> Principal:
    """The same for who reads the body themselves, and then calls `proof.check`."""
    authenticator: Authenticator = request.app.state.authenticator
    found = await authenticator(request)
    request.scope["kefu.account"] = found.account
    _enforce(request, found)
    return found


def _enforce(request: Request, who: Principal) -> None:
    """Raises `Forbidden` unless the principal is what the service's table says that the route needs."""
    needs: Needs = request.app.state.needs
    need = needs.get((request.method, request.scope["route"].path))
    if need is None:
        raise Forbidden("nobody may use this route: it is not on the service's table of needs")
    if who.is_operator and (need.of_operator or need.or_operator):
        return
    if need.of_operator:
        who.need_operator()
    if need.of_agent:
        who.need_agent()
        if need.permission is not None:
            who.need_role(need.permission)
    elif need.permission is not None:
        who.need(need.permission)


async def _small_body(request: Request) -> bytes:
    """The body, which the request keeps for whoever reads it next."""
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdigit():
        raise BadRequest("a signed request needs a Content-Length")
    if int(length) > _LARGEST_SIGNED:
        raise PayloadTooLarge(f"at most {_LARGEST_SIGNED} bytes")
    return await request.body()
