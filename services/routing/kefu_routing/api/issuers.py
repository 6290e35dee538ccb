"""What is asked of OpenID Connect providers over HTTP: all of it bounded, and nothing of it trusted."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

import httpx
import jwt
from pydantic_core import from_json

from kefu_common.http import problems
from kefu_common.telemetry import logs
from kefu_routing.domain.oidc import Departure, NotProven, NotUsable, Provider, key_of, provider_of
from kefu_routing.settings import Issuer

log = logs.get(__name__)

LONGEST_S: Final = 5.0
"""All that one request asks of a provider takes at most this."""
_KEPT_S: Final = 600.0
_NEW_KEYS_EVERY_S: Final = 30.0
"""A token by an unknown key has the keys read again, not more often than this."""
_LARGEST: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Read:
    """A document as it was read, and when by the monotonic clock."""

    document: object
    at: float


class Issuers:
    """The providers, with what they say of themselves kept for ten minutes."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(
            timeout=LONGEST_S, limits=httpx.Limits(max_connections=20), follow_redirects=False, trust_env=False
        )
        self._known: dict[str, _Read] = {}

    async def provider(self, issuer: Issuer) -> Provider:
        """What the provider says of itself. Raises `Unavailable`."""
        url = f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
        async with _bounded(issuer):
            return provider_of(await self._document(url, _KEPT_S), issuer.issuer)

    async def id_token(
        self, issuer: Issuer, provider: Provider, code: str, departure: Departure
    ) -> tuple[str, jwt.PyJWK]:
        """What the provider gives for the code, and the key that signed it. Raises `Unavailable`, `NotProven`."""
        async with _bounded(issuer):
            token = await self._exchange(issuer, provider, code, departure)
            key = key_of(token, await self._document(provider.jwks_uri, _KEPT_S))
            if key is None:
                key = key_of(token, await self._document(provider.jwks_uri, _NEW_KEYS_EVERY_S))
        if key is None:
            raise NotProven("the id token is signed by none of the provider's keys")
        return token, key

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _exchange(self, issuer: Issuer, provider: Provider, code: str, departure: Departure) -> str:
        id, secret = issuer.client_id, issuer.client_secret.get_secret_value()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": departure.redirect_uri,
            "code_verifier": departure.verifier,
        }
        # Encoded like a form before it is a header's: RFC 6749, 2.3.1.
        auth = httpx.BasicAuth(quote_plus(id), quote_plus(secret)) if provider.takes_basic else None
        if auth is None:
            form |= {"client_id": id, "client_secret": secret}
        status, answer = await self._ask("POST", provider.token_endpoint, form, auth)
        said = answer if isinstance(answer, dict) else {}
        if status == 400 and said.get("error") == "invalid_grant":
            raise NotProven("the provider does not know the code (any more)")
        token = said.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise NotUsable(
                f"its token endpoint answers {status}, without an id token: check client_id and client_secret"
            )
        return token

    async def _document(self, url: str, kept_s: float) -> object:
        known = self._known.get(url)
        if known is not None and time.monotonic() - known.at < kept_s:
            return known.document
        status, document = await self._ask("GET", url)
        if status != 200:
            raise NotUsable(f"{url} answers {status}")
        self._known[url] = _Read(document, time.monotonic())
        return document

    async def _ask(
        self, method: str, url: str, form: dict[str, str] | None = None, auth: httpx.BasicAuth | None = None
    ) -> tuple[int, object]:
        request = self._http.build_request(method, url, data=form, headers={"Accept": "application/json"})
        response = await self._http.send(request, auth=auth, stream=True)
        try:
            if response.is_server_error:
                response.raise_for_status()
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST:
                    raise NotUsable(f"{url} answers more than {_LARGEST} bytes")
        finally:
            await response.aclose()
        try:
            return response.status_code, from_json(bytes(body))
        except ValueError:
            return response.status_code, None


@asynccontextmanager
async def _bounded(issuer: Issuer) -> AsyncIterator[None]:
    """Raises `Unavailable` for a provider that is away, too slow, or says what it should not."""
    try:
        async with asyncio.timeout(LONGEST_S):
            yield
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("issuer_away", issuer=issuer.issuer, error=type(error).__name__)
        raise problems.Unavailable("the account's sign-in provider does not answer: try again in a moment", 5) from None
    except NotUsable as error:
        log.error("issuer_not_usable", issuer=issuer.issuer, hint="check KEFU_OIDC and the provider", error=str(error))
        detail = "the account's sign-in provider is not set up for this: tell the operator to read routing's log"
        raise problems.Unavailable(detail, 60) from None
