"""Who acts: API keys with an account, scopes and sites, and `act-as` for agents (design, section 5)."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import Request

from kefu_common.events.directory import ApiKey
from kefu_common.http.problems import Forbidden, Unauthorized

SCOPES: Final = (
    "calls:write",
    "chats:write",
    "emails:write",
    "messages:write",
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

FindKey = Callable[[str], Awaitable[tuple[str, ApiKey] | None]]
"""The account and key of a secret's hash."""


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


class Authenticator:
    """Turns a request's headers into who acts."""

    def __init__(self, find_key: FindKey, operator_key: str) -> None:
        self._find_key = find_key
        self._operator_hash = hash_key(operator_key) if operator_key else None

    async def __call__(self, request: Request) -> Principal:
        """Raises `Unauthorized` without a valid key, `Forbidden` for `Kefu-Agent` without `act-as`."""
        headers: dict[bytes, bytes] = dict(request.scope["headers"])  # looked up once, not scanned for each name
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized("send a key: Authorization: Bearer <key>", headers={"WWW-Authenticate": "Bearer"})
        hashed = hash_key(secret.strip())
        if self._operator_hash is not None and hmac.compare_digest(hashed, self._operator_hash):
            return Principal("", "operator", frozenset(), is_operator=True)
        found = await self._find_key(hashed)
        if found is None:
            raise Unauthorized("nobody knows this key", headers={"WWW-Authenticate": "Bearer"})
        account, key = found
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise Unauthorized("the key has expired", headers={"WWW-Authenticate": "Bearer"})
        scopes = frozenset(key.scopes)
        acts_for = headers.get(b"kefu-agent")
        agent = None if acts_for is None else acts_for.decode("latin-1")
        if agent is not None and "act-as" not in scopes:
            raise Forbidden("the key lacks the scope act-as, which the header Kefu-Agent needs")
        sites = None if key.sites is None else frozenset(key.sites)
        return Principal(account, key.id, scopes, key.adapter, sites, agent)


async def principal(request: Request) -> Principal:
    """The request's principal, by the app's authenticator. A FastAPI dependency."""
    authenticator: Authenticator = request.app.state.authenticator
    found = await authenticator(request)
    request.scope["kefu.account"] = found.account
    return found
