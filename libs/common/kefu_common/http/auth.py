"""Who acts: API keys with an account, scopes and sites, and `act-as` for agents (design, section 5).

A key is sent (`Authorization: Bearer`) or, if it was made so, signs each request instead (`signing.py`).
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from fastapi import Request

from kefu_common.events.directory import ApiKey
from kefu_common.http import signing
from kefu_common.http.problems import BadRequest, Forbidden, PayloadTooLarge, Unauthorized
from kefu_common.sealing import CannotOpen, Sealer
from kefu_common.settings import ServiceSettings
from kefu_common.telemetry import logs

log = logs.get(__name__)

SCOPES: Final = (
    "calls:write",
    "chats:write",
    "emails:write",
    "messages:write",
    "visits:write",
    "ratings:write",
    "outcomes:write",
    "outbound:read",
    "tickets:read",
    "tickets:write",
    "directory:read",
    "directory:write",
    "messages:read",
    "settings:write",
    "reports:read",
    "act-as",
)
"""What a key may be allowed to do. The account's admin key has all of them."""


class Keys(Protocol):
    """Where keys are looked up."""

    async def by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        """The account and key of which a secret has this hash."""

    async def by_id(self, account: str, id: str) -> ApiKey | None:
        """An account's key by its id."""


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
    scopes: frozenset[str]
    adapter: str | None = None
    sites: frozenset[str] | None = None
    agent: str | None = None
    is_operator: bool = False
    rate_per_s: int | None = None
    proof: Proof | None = None
    """Of a signed request: nothing may be done before it is checked against the body."""

    def may_use_site(self, site: str) -> bool:
        """Whether the key covers the site."""
        return self.sites is None or site in self.sites

    def need(self, scope: str) -> None:
        """Raises `Forbidden` unless the key has the scope."""
        if scope not in self.scopes:
            raise Forbidden(f"the key lacks the scope {scope}")

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
            raise Forbidden("an agent's command needs the header Kefu-Agent and a key with the scope act-as")
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
        found = await self._keys.by_hash(hashed)
        if found is None:
            raise Unauthorized("nobody knows this key", headers=_BEARER)
        account, key = found
        if not key.is_in_force(hashed, datetime.now(UTC)):
            raise Unauthorized("the key has expired", headers=_BEARER)
        return _principal(account, key, headers)

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
        return _principal(signed.account, key, headers, proof)


def _principal(account: str, key: ApiKey, headers: dict[bytes, bytes], proof: Proof | None = None) -> Principal:
    scopes = frozenset(key.scopes)
    acts_for = headers.get(b"kefu-agent")
    agent = None if acts_for is None else acts_for.decode("latin-1")
    if agent is not None and "act-as" not in scopes:
        raise Forbidden("the key lacks the scope act-as, which the header Kefu-Agent needs")
    sites = None if key.sites is None else frozenset(key.sites)
    return Principal(account, key.id, scopes, key.adapter, sites, agent, rate_per_s=key.rate_per_s, proof=proof)


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
    return found


async def _small_body(request: Request) -> bytes:
    """The body, which the request keeps for whoever reads it next."""
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdigit():
        raise BadRequest("a signed request needs a Content-Length")
    if int(length) > _LARGEST_SIGNED:
        raise PayloadTooLarge(f"at most {_LARGEST_SIGNED} bytes")
    return await request.body()
