"""Signing in by an account's own OpenID Connect provider (D-12), with a real provider over real HTTP."""

import asyncio
import base64
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from kefu_common import tokens
from kefu_routing.api import issuers
from kefu_routing.api.issuers import LONGEST_S
from kefu_routing.settings import Issuer
from tests.conftest import World
from tests.routing.service import Routing, running, until

PEOPLE = [
    {"sub": "lina", "preferred_username": "LiNa", "email": "nobody@example.com", "email_verified": False},
    {"sub": "wang", "preferred_username": "nobody", "email": "wang@example.com", "email_verified": True},
    {"sub": "unverified", "preferred_username": "nobody", "email": "wang@example.com", "email_verified": False},
    {"sub": "two", "preferred_username": "lina", "email": "wang@example.com", "email_verified": True},
    {"sub": "stranger", "preferred_username": "stranger", "email": "s@example.com", "email_verified": True},
    {"sub": "empty"},
]


@asynccontextmanager
async def a_provider(log: Path) -> AsyncIterator[str]:
    """A provider as a process; its issuer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = [argument for person in PEOPLE for argument in ("--user-claims", json.dumps(person))]
    with log.open("ab") as output:
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *known]
        child = await asyncio.create_subprocess_exec(*command, env=dict(os.environ), stdout=output, stderr=output)
    issuer = f"http://127.0.0.1:{port}"

    async def answers() -> bool | None:
        assert child.returncode is None, f"it ended: see {log}"
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{issuer}/.well-known/openid-configuration")).status_code == 200 or None
            except httpx.TransportError:
                return None

    try:
        await until("the provider answers", answers)
        yield issuer
    finally:
        child.terminate()
        await child.wait()


@pytest.fixture(scope="module")
async def kefu(make_world: Callable[[], Awaitable[World]], run_folder: Path) -> AsyncIterator[Routing]:
    """A service whose account has a provider."""
    async with a_provider(run_folder / "provider.log") as issuer:
        chosen = {
            "acme": Issuer(issuer=issuer, client_id="kefu", client_secret=SecretStr("s:3/cret")),
            "away": Issuer(issuer="http://127.0.0.1:9", client_id="kefu", client_secret=SecretStr("x")),
            "wrong": Issuer(issuer=f"{issuer}/", client_id="kefu", client_secret=SecretStr("x")),
        }
        async with running(await make_world(), oidc=chosen) as service:
            await service.set_up()
            for agent in (
                {"id": "lina", "name": "李娜", "login": "lina"},
                {"id": "wang", "name": "王芳", "login": "wangf", "email": "Wang@example.com"},
            ):
                await service.call("POST", "/v1/agents", agent, expect=201)
            yield service


@asynccontextmanager
async def a_browser(kefu: Routing) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of its own: its cookies are nobody else's."""
    async with httpx.AsyncClient(transport=kefu.http._transport, base_url="http://r") as browser:
        yield browser


async def leave(browser: httpx.AsyncClient, account: str = "acme") -> str:
    """Where the browser is sent to sign in."""
    away = await browser.get("/v1/sessions/oidc", params={"account": account})
    assert away.status_code == 302, away.text
    return away.headers["location"]


async def sign_in_there(url: str, sub: str, **changed: str) -> str:
    """The person signs in at the provider; where that sends them back to."""
    parts = urlsplit(url)
    asked = urlencode({**dict(parse_qsl(parts.query)), **changed})
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(parts._replace(query=asked).geturl(), data={"sub": sub})
    assert answer.status_code == 302, answer.text
    back: str = answer.headers["location"]
    return back


async def through(kefu: Routing, sub: str, **changed: str) -> httpx.Response:
    """All the way of a person, from the beginning."""
    async with a_browser(kefu) as browser:
        return await browser.get(await sign_in_there(await leave(browser), sub, **changed))


def refused(answer: httpx.Response, status: int = 401) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json()["detail"]
    return detail


@pytest.mark.parametrize(("sub", "agent"), [("lina", "lina"), ("wang", "wang")])
async def test_whoever_signs_in_there_is_signed_in_here(kefu: Routing, sub: str, agent: str) -> None:
    async with a_browser(kefu) as browser:
        url = await leave(browser)
        (cookie,) = browser.cookies.jar
        assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/v1/sessions/oidc", True)
        assert parse_qs(urlsplit(url).query)["redirect_uri"] == ["http://r/v1/sessions/oidc/callback"]
        answer = await browser.get(await sign_in_there(url, sub))
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert not list(browser.cookies.jar)
    session = answer.json()
    assert session["agent"] == agent
    assert tokens.account_of(session["token"]) == "acme"
    who = await kefu.http.get("/v1/me", headers={"Authorization": f"Bearer {session['token']}"})
    assert who.status_code == 200, who.text
    renewed = await kefu.http.post("/v1/sessions/renew", json={"renewal": session["renewal"]})
    assert renewed.status_code == 201, renewed.text


async def test_the_same_answer_counts_once(kefu: Routing) -> None:
    async with a_browser(kefu) as browser:
        url = await leave(browser)
        kept = browser.cookies["kefu_sign_in"]
        back = await sign_in_there(url, "lina")
        assert (await browser.get(back)).status_code == 201
        assert "begin again" in refused(await browser.get(back))
        with_cookie = {"Cookie": f"kefu_sign_in={kept}"}
        assert "begin again" in refused(await browser.get(back, headers=with_cookie))
        # Another code for the same departure is no way round it.
        again = await sign_in_there(url, "lina")
        assert "come back with this already" in refused(await browser.get(again, headers=with_cookie))


async def test_another_browser_cannot_be_signed_in_by_a_link(kefu: Routing) -> None:
    async with a_browser(kefu) as attacker, a_browser(kefu) as victim:
        back = await sign_in_there(await leave(attacker), "lina")
        assert "begin again" in refused(await victim.get(back))
        await leave(victim)
        assert "begin again" in refused(await victim.get(back))


async def test_a_wrong_state_and_a_wrong_nonce_are_refused(kefu: Routing) -> None:
    assert "begin again" in refused(await through(kefu, "lina", state="another"))
    assert "another sign-in" in refused(await through(kefu, "lina", nonce="another"))


@pytest.mark.parametrize("sub", ["unverified", "two", "stranger", "empty"])
async def test_somebody_who_is_not_exactly_one_agent_is_refused(kefu: Routing, sub: str) -> None:
    assert "set the agent's login or email" in refused(await through(kefu, sub))


@pytest.mark.parametrize("cookie", ["", "nonsense", "ü", "gAAAAAB"])
async def test_a_cookie_that_is_none_of_ours_is_refused(kefu: Routing, cookie: str) -> None:
    headers = {b"Cookie": f"kefu_sign_in={cookie}".encode("latin-1")}
    answer = await kefu.http.get("/v1/sessions/oidc/callback?state=a&code=b", headers=headers)
    assert "begin again" in refused(answer)


async def test_what_the_provider_refuses_is_told_without_its_words(kefu: Routing) -> None:
    for error, shown in (("access_denied", "access_denied"), ("<script>", "an error")):
        async with a_browser(kefu) as browser:
            state = parse_qs(urlsplit(await leave(browser)).query)["state"][0]
            asked = {"state": state, "error": error, "error_description": "secret words"}
            detail = refused(await browser.get("/v1/sessions/oidc/callback", params=asked))
        assert f"the provider answers {shown}:" in detail
        assert "secret words" not in detail


async def test_an_answer_without_a_code_or_of_another_issuer_or_with_a_code_that_nobody_gave_is_refused(
    kefu: Routing,
) -> None:
    for more in ({}, {"code": "c", "iss": "https://other.example"}, {"code": "nobody-gave-it"}):
        async with a_browser(kefu) as browser:
            state = parse_qs(urlsplit(await leave(browser)).query)["state"][0]
            answer = await browser.get("/v1/sessions/oidc/callback", params={"state": state, **more})
        assert "begin again" in refused(answer)


async def test_an_unknown_account_and_one_without_a_provider_answer_alike(kefu: Routing) -> None:
    account = {"id": "plain", "short_name": "小店"}
    made = await kefu.http.post("/v1/accounts", json=account, headers={"Authorization": "Bearer operator-key"})
    assert made.status_code == 201, made.text
    answers = [await kefu.http.get("/v1/sessions/oidc", params={"account": a}) for a in ("plain", "nobody", "")]
    assert len({(a.status_code, a.text) for a in answers}) == 1
    assert "login and password" in refused(answers[0], 404)
    refused(await kefu.http.get("/v1/sessions/oidc"), 422)


async def test_a_provider_that_is_away_is_503(kefu: Routing) -> None:
    answer = await kefu.http.get("/v1/sessions/oidc", params={"account": "away"})
    assert "try again" in refused(answer, 503)
    assert answer.headers["retry-after"]


async def test_a_provider_that_says_another_issuer_is_503(kefu: Routing) -> None:
    answer = await kefu.http.get("/v1/sessions/oidc", params={"account": "wrong"})
    assert "operator" in refused(answer, 503)


@dataclass
class Scripted:
    """A provider that answers as a test tells it to, and keeps what it was asked."""

    issuer: str = ""
    nonce: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    kid: str = "rsa"
    answer: Response | None = None
    asked: list[tuple[dict[str, str], str | None]] = field(default_factory=list)
    challenges: list[str] = field(default_factory=list)

    async def discovery(self, _request: Request) -> Response:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        urls = {name: f"{self.issuer}/{path}" for name, path in names.items()}
        offered = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
        return JSONResponse({"issuer": self.issuer, **urls, **offered})

    async def keys(self, _request: Request) -> Response:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**public, "kid": self.kid}]})

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.asked.append((form, request.headers.get("authorization")))
        if self.answer is not None:
            return self.answer
        claims = {"iss": self.issuer, "sub": "1", "aud": "kefu", "nonce": self.nonce, "exp": int(time.time()) + 60}
        claims["preferred_username"] = "lina"
        return JSONResponse({"id_token": jwt.encode(claims, self.key, "RS256", {"kid": self.kid})})

    async def sign_in(self, kefu: Routing) -> httpx.Response:
        async with a_browser(kefu) as browser:
            asked = parse_qs(urlsplit(await leave(browser)).query)
            (self.nonce,), (state,) = asked["nonce"], asked["state"]
            answer = await browser.get("/v1/sessions/oidc/callback", params={"state": state, "code": "c"})
        self.challenges += asked["code_challenge"]
        return answer


@pytest.fixture
async def scripted(world: World) -> AsyncIterator[tuple[Scripted, Routing]]:
    provider = Scripted()
    routes = [
        Route("/.well-known/openid-configuration", provider.discovery),
        Route("/keys", provider.keys),
        Route("/token", provider.token, methods=["POST"]),
    ]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    provider.issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve([listener]))
    chosen = {"acme": Issuer(issuer=provider.issuer, client_id="kefu", client_secret=SecretStr("s3cret"))}
    async with running(world, oidc=chosen) as service:
        await service.set_up()
        await service.call("POST", "/v1/agents", {"id": "lina", "name": "李娜", "login": "lina"}, expect=201)
        yield provider, service
    server.should_exit = True
    await serving


async def test_the_code_is_exchanged_with_the_secret_and_the_verifier_and_new_keys_are_read(
    scripted: tuple[Scripted, Routing], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, kefu = scripted
    assert (await provider.sign_in(kefu)).status_code == 201
    ((form, authorization),) = provider.asked
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == (
        "authorization_code",
        "c",
        "http://r/v1/sessions/oidc/callback",
    )
    assert (form["client_id"], form["client_secret"], authorization) == ("kefu", "s3cret", None)
    hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert provider.challenges == [base64.urlsafe_b64encode(hashed).decode().rstrip("=")]

    provider.key, provider.kid = rsa.generate_private_key(65537, 2048), "new"
    # Not for every token by an unknown key: whoever makes one up would have the keys read again and again.
    assert "none of the provider's keys" in refused(await provider.sign_in(kefu))
    monkeypatch.setattr(issuers, "_NEW_KEYS_EVERY_S", 0)
    assert (await provider.sign_in(kefu)).status_code == 201


async def test_what_a_token_endpoint_should_not_answer_is_503(scripted: tuple[Scripted, Routing]) -> None:
    provider, kefu = scripted
    for answer in (
        JSONResponse({"error": "invalid_client"}, 401),
        JSONResponse({}),
        JSONResponse(["id_token"]),
        PlainTextResponse("hello"),
        PlainTextResponse("x" * 300_000),
        RedirectResponse("http://127.0.0.1:9/"),
    ):
        provider.answer = answer
        assert "operator" in refused(await provider.sign_in(kefu), 503)
    provider.answer = JSONResponse({"error": "server_error"}, 502)
    assert "try again in a moment" in refused(await provider.sign_in(kefu), 503)
    provider.answer = JSONResponse({"error": "invalid_grant"}, 400)
    assert "begin again" in refused(await provider.sign_in(kefu))
    provider.answer = JSONResponse({"id_token": "a.b.c"})
    assert "begin again" in refused(await provider.sign_in(kefu))


async def test_a_provider_that_says_nothing_is_503_within_the_bound(world: World) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A byte now and then would outlive a limit on single reads.
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    chosen = {"acme": Issuer(issuer=issuer, client_id="kefu", client_secret=SecretStr("x"))}
    async with running(world, oidc=chosen) as service:
        began = time.monotonic()
        answer = await service.http.get("/v1/sessions/oidc", params={"account": "acme"})
        assert time.monotonic() - began < LONGEST_S + 1
        refused(answer, 503)
    server.close()
