"""What all services' HTTP has in common: problems, keys, lists, health."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import BaseModel, SecretStr

from kefu_common.events.directory import ApiKey, FormerSecret
from kefu_common.http import problems, signing
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator, Principal, hash_key, new_key, principal
from kefu_common.http.lists import Items, Page, cursor_after
from kefu_common.http.needs import KNOWN
from kefu_common.http.problems import Problem
from kefu_common.http.signing import sign
from kefu_common.sealing import Sealer
from kefu_common.settings import ServiceSettings

AN_HOUR = timedelta(hours=1)
SEALING_KEY = Fernet.generate_key().decode()
SEALER = Sealer.of(SEALING_KEY)


def in_an_hour(hours: int = 1) -> datetime:
    return datetime.now(UTC) + hours * AN_HOUR


def sealed(secret: str) -> str:
    return SEALER.seal(secret)


KEYS = [
    ApiKey(id="good", scopes=["calls:write"], sites=["shop"], hash=hash_key("good")),
    ApiKey(id="admin", scopes=["act-as"], hash=hash_key("admin")),
    ApiKey(id="old", scopes=[], hash=hash_key("old"), expires_at=in_an_hour(-1)),
    ApiKey(id="fresh", scopes=[], hash=hash_key("fresh"), expires_at=in_an_hour()),
    ApiKey(
        id="rotated",
        scopes=[],
        hash=hash_key("rotated-new"),
        former=FormerSecret(hash=hash_key("rotated-before"), until=in_an_hour()),
    ),
    ApiKey(
        id="rotated-long-ago",
        scopes=[],
        hash=hash_key("rotated-newer"),
        former=FormerSecret(hash=hash_key("rotated-too-long-ago"), until=in_an_hour(-1)),
    ),
    ApiKey(
        id="signs",
        scopes=[],
        signed=True,
        sealed=sealed("signing"),
        former=FormerSecret(sealed=sealed("signed-before"), until=in_an_hour()),
    ),
    ApiKey(id="signed-once", scopes=[], signed=True, sealed=sealed("signing"), expires_at=in_an_hour(-1)),
    ApiKey(id="sealed-elsewhere", scopes=[], signed=True, sealed=Sealer([Fernet.generate_key().decode()]).seal("x")),
]


KNOWN_ROUTES = [("POST", "signed"), ("POST", "later"), ("GET", "me")]


class KnownKeys:
    """All of the account acme, whose agents may work on tickets."""

    async def by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        return next((("acme", key) for key in KEYS if hash in key.hashes), None)

    async def by_id(self, account: str, id: str) -> ApiKey | None:
        return next((key for key in KEYS if (account, id) == ("acme", key.id)), None)

    async def permissions(self, account: str, agent: str) -> frozenset[str] | None:
        return frozenset({"tickets:write"})

    async def token_secret(self, account: str) -> str | None:
        return None

    async def is_over(self, session: UUID) -> bool:
        return False


def settings(operator_key: str) -> ServiceSettings:
    return ServiceSettings(operator_key=SecretStr(operator_key), sealing_keys=SecretStr(SEALING_KEY))


class Inner(BaseModel):
    score: int


class Body(BaseModel, extra="forbid"):
    inner: Inner
    items: list[Inner] = []


def every_problem(root: type[Problem] = Problem) -> list[type[Problem]]:
    """The whole tree."""
    return [root, *(found for below in root.__subclasses__() for found in every_problem(below))]


def made(kind: type[Problem]) -> Problem:
    return kind([("a.b", "expected an integer")]) if kind is problems.Invalid else kind("why")


def an_app(to_raise: list[BaseException]) -> FastAPI:
    """An app that raises what is in the list, and shows who asks."""
    router = APIRouter()

    @router.get("/v1/raise")
    async def raise_it() -> None:
        raise to_raise[0]

    @router.post("/v1/body")
    async def body(body: Body) -> Body:
        return body

    @router.post("/v1/signed")
    async def signed(who: Annotated[Principal, Depends(principal)], request: Request) -> dict[str, Any]:
        return {"key": who.key, "body": (await request.body()).decode()}

    @router.post("/v1/later")
    async def later(_who: Annotated[Principal, Depends(principal)], request: Request) -> dict[str, str]:
        # as an open stream does, long after the signature's window
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signing, "WINDOW_S", -1)
            return {"key": (await app.state.authenticator(request)).key}

    @router.get("/v1/me")
    async def me(who: Annotated[Principal, Depends(principal)]) -> dict[str, Any]:
        return {"account": who.account, "agent": who.agent, "operator": who.is_operator}

    @router.get("/v1/list")
    async def listed(page: Annotated[Page, Query()]) -> Items[str]:
        after = int(page.after() or 0)
        items = [str(n) for n in range(after + 1, 6)][: page.limit]
        return Items(items=items, next=cursor_after(items[-1]) if items and items[-1] != "5" else None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("test", [router], lifespan, {(m, f"/v1/{p}"): KNOWN for m, p in KNOWN_ROUTES})
    app.state.authenticator = Authenticator(KnownKeys(), settings("operator"))
    return app


@pytest.fixture
def to_raise() -> list[BaseException]:
    return []


@pytest.fixture
async def client(to_raise: list[BaseException]) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(an_app(to_raise), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


@pytest.mark.parametrize("kind", every_problem(), ids=lambda k: k.__name__)
async def test_every_problem_is_answered_as_one(
    client: httpx.AsyncClient, to_raise: list[BaseException], kind: type[Problem]
) -> None:
    to_raise.append(made(kind))
    answer = await client.get("/v1/raise")
    assert answer.status_code == kind.status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:kefu:problem:{kind.slug}"
    assert (body["title"], body["status"]) == (kind.title, kind.status)
    assert body["detail"]


def test_no_two_problems_share_a_slug_and_all_are_drawn_in_the_tree() -> None:
    kinds = [kind for kind in every_problem() if kind.__module__ == problems.__name__]
    everywhere = every_problem()
    assert len({kind.slug for kind in everywhere}) == len(everywhere), "each kind of problem needs a slug of its own"
    for kind in kinds:
        if kind is not Problem:
            assert f"{kind.__name__} {kind.status}" in (problems.__doc__ or ""), kind


async def test_a_mistake_of_ours_is_a_problem_that_says_nothing_of_it(
    client: httpx.AsyncClient, to_raise: list[BaseException]
) -> None:
    for mistake in (KeyError("+8613800138000"), asyncpg.InterfaceError("the server expects 2 arguments: 王芳")):
        to_raise[:] = [mistake]
        answer = await client.get("/v1/raise")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "138" not in answer.text
        assert "王芳" not in answer.text


async def test_a_database_that_is_away_is_unavailable(client: httpx.AsyncClient, to_raise: list[BaseException]) -> None:
    for away in (ConnectionRefusedError(), asyncpg.InterfaceError("connection is closed"), TimeoutError()):
        to_raise[:] = [away]
        answer = await client.get("/v1/raise")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("body", "status", "errors"),
    [
        ('{"inner": {"score": 1}}', 200, []),
        ("{", 400, []),
        ('{"inner": {"score": "x"}}', 422, ["inner.score"]),
        ('{"inner": {"score": 1}, "items": [{"score": 1}, {}]}', 422, ["items.1.score"]),
        ('{"inner": {"score": 1}, "more": 1}', 422, ["more"]),
        ("[]", 422, [""]),
    ],
)
async def test_a_wrong_body_says_where(client: httpx.AsyncClient, body: str, status: int, errors: list[str]) -> None:
    answer = await client.post("/v1/body", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert [e["path"] for e in answer.json().get("errors", [])] == errors


async def test_what_is_not_there_is_a_problem_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/nothing")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:kefu:problem:not-found")
    answer = await client.post("/v1/me")
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({}, 401, None),
        ({"Authorization": "Basic good"}, 401, None),
        ({"Authorization": "Bearer "}, 401, None),
        ({"Authorization": "Bearer nobody"}, 401, None),
        ({"Authorization": "Bearer old"}, 401, None),
        ({"Authorization": "Bearer fresh"}, 200, {"account": "acme", "agent": None, "operator": False}),
        ({"Authorization": "bearer good"}, 200, {"account": "acme", "agent": None, "operator": False}),
        ({"Authorization": "Bearer good", "Kefu-Agent": "a01"}, 403, None),
        ({"Authorization": "Bearer admin", "Kefu-Agent": "a01"}, 200, {"account": "acme", "agent": "a01", "operator": False}),  # noqa: E501
        ({"Authorization": "Bearer operator"}, 200, {"account": "", "agent": None, "operator": True}),
    ],
)  # fmt: skip
async def test_who_acts(
    client: httpx.AsyncClient, headers: dict[str, str], status: int, expected: dict[str, Any] | None
) -> None:
    answer = await client.get("/v1/me", headers=headers)
    assert answer.status_code == status
    if expected is not None:
        assert answer.json() == expected
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_an_operator_key_nobody_is_the_operator() -> None:
    app = an_app([])

    app.state.authenticator = Authenticator(KnownKeys(), settings(""))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/v1/me", headers={"Authorization": "Bearer "})).status_code == 401


def test_a_principal_may_do_what_its_key_says() -> None:
    who = Principal("acme", "k", frozenset({"calls:write"}), sites=frozenset({"shop"}))
    who.need("calls:write")
    who.need_site("shop")
    for refused in (
        lambda: who.need("tickets:write"),
        lambda: who.need_site("night"),
        who.need_operator,
        who.need_agent,
    ):
        with pytest.raises(problems.Forbidden):
            refused()
    assert new_key("acme") != new_key("acme")


async def test_a_list_is_read_to_its_end_by_its_cursors(client: httpx.AsyncClient) -> None:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = (await client.get("/v1/list", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=%00", "cursor=é", "cursor=_w==", "more=1"]
)
async def test_a_wrong_page_is_invalid(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/list?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == query.partition("=")[0]


async def test_health_needs_no_key(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).status_code == 200
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["starting"])
    assert "kefu_http_request_seconds" in (await client.get("/metrics")).text
    assert (await client.get("/openapi.json")).status_code == 200
    docs = await client.get("/docs")
    assert "https://" not in docs.text, "the docs page must not need a CDN"
    assert (await client.get("/docs/static/swagger-ui-bundle.js")).status_code == 200


@pytest.mark.parametrize(
    ("secret", "status"), [("rotated-new", 200), ("rotated-before", 200), ("rotated-too-long-ago", 401)]
)
async def test_a_rotated_key_s_former_secret_is_in_force_for_its_time(
    client: httpx.AsyncClient, secret: str, status: int
) -> None:
    answer = await client.get("/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == status


BODY = '{"text": "您好"}'.encode()


def signature(
    secret: str = "signing",
    key: str = "acme/signs",
    at: float = 0,
    method: str = "POST",
    target: str = "/v1/signed?a=%E5%BA%97",
    body: bytes = BODY,
    **others: str,
) -> dict[str, str]:
    """The headers of a request that was signed so many seconds from now; `others` take the place of some."""
    timestamp = str(int(datetime.now(UTC).timestamp() + at))
    signed = sign(secret, timestamp, method, target, body).decode()
    headers = {"Kefu-Key": key, "Kefu-Timestamp": timestamp, "Kefu-Signature": signed}
    return headers | {name.replace("_", "-"): value for name, value in others.items()}


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, 200),
        ({"secret": "signed-before"}, 200),
        ({"at": -290}, 200),
        ({"at": 290}, 200),
        ({"Authorization": "Bearer good"}, 200),
        ({"secret": "wrong"}, 401),
        ({"at": -310}, 401),
        ({"at": 310}, 401),
        ({"body": b"other"}, 401),
        ({"method": "PUT"}, 401),
        ({"target": "/v1/signed"}, 401),
        ({"key": "acme/nobody"}, 401),
        ({"key": "other/signs"}, 401),
        ({"key": "acme/good"}, 401),
        ({"key": "acme/signed-once"}, 401),
        ({"key": "acme/sealed-elsewhere"}, 401),
        ({"key": ""}, 401),
        ({"Kefu_Timestamp": "now"}, 401),
        ({"Kefu_Timestamp": "9" * 400}, 401),
        ({"Kefu_Signature": ""}, 401),
        ({"Kefu_Signature": "v1=\u00e9"}, 401),
    ],
    ids=str,
)
async def test_a_signed_request_is_taken_only_as_it_was_signed(
    client: httpx.AsyncClient, how: dict[str, Any], status: int
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in signature(**how).items()]
    answer = await client.post("/v1/signed?a=%E5%BA%97", content=BODY, headers=raw)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json() == {"key": "signs", "body": BODY.decode()}


async def test_who_was_proven_stays_so_while_the_request_lasts(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/later", content=BODY, headers=signature(target="/v1/later"))
    assert answer.json() == {"key": "signs"}


async def test_what_is_signed_is_bounded(client: httpx.AsyncClient) -> None:
    large = b"x" * (2**20 + 1)
    assert (await client.post("/v1/signed", content=large, headers=signature(body=large))).status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    assert (await client.post("/v1/signed", content=pieces(), headers=signature())).status_code == 400
