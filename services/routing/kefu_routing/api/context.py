"""What every route needs: the database, who acts, and what follows a commit."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar

import asyncpg
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.http.auth import Principal, principal
from kefu_common.http.observed import traceparent
from kefu_common.kafka.producer import RecordTooLarge
from kefu_common.objects import Objects
from kefu_common.postgres.database import Connection, Database, TryAgain
from kefu_common.sealing import Sealer
from kefu_routing.domain.changes import By
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.store.directory import DirectoryCache

M = TypeVar("M", bound=BaseModel)
GroupKey = tuple[str, str]
MAX_BODY = 1024 * 1024


class Empty(Given):
    """A command without words."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The running service, as routes see it. `committed` publishes what was written and assigns the groups named."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[set[GroupKey]], None]
    sealer: Sealer
    objects: Objects
    public_url: str
    """In front of links; empty: as the request came in."""


def routing(request: Request) -> Routing:
    """The service of this request. A FastAPI dependency."""
    found: Routing = request.app.state.routing
    return found


Service = Annotated[Routing, Depends(routing)]
Who = Annotated[Principal, Depends(principal)]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answers, and which groups have something to assign now."""

    body: Any
    status: int = 200
    etag: str | None = None
    groups: frozenset[GroupKey] = frozenset()


Command = Callable[[Connection], Awaitable[Answer]]


async def body_of(request: Request, model: type[M], **known: str) -> M:
    """The request's JSON body as a model; `known` fields come from the path and may be left out of the body.

    Raises:
        UnsupportedMediaType, PayloadTooLarge, BadRequest, Invalid.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    raw = await read_body(request, MAX_BODY)
    if raw and kind != "application/json":
        raise problems.UnsupportedMediaType("send application/json")
    try:
        if not known:
            return model.model_validate_json(raw or b"{}")
        given = _json_object(raw)
    except ValidationError as error:
        _raise(error)
    for name, value in known.items():
        if given.setdefault(name, value) != value:
            raise problems.Invalid([(name, f"expected {value}, as in the path")])
    try:
        return model.model_validate_json(to_json(given))
    except ValidationError as error:
        _raise(error)


def _json_object(raw: bytes) -> dict[str, Any]:
    class AnyObject(BaseModel):
        model_config = {"extra": "allow"}

    return AnyObject.model_validate_json(raw or b"{}").model_dump()


def _raise(error: ValidationError) -> NoReturn:
    errors = error.errors(include_url=False)
    if any(e["type"] == "json_invalid" for e in errors):
        raise problems.BadRequest("the body is not JSON") from None
    raise problems.Invalid(problems.field_errors(errors)) from None


async def read_body(request: Request, at_most: int) -> bytes:
    """The whole body. Raises `PayloadTooLarge` for more bytes than that."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > at_most:
            raise problems.PayloadTooLarge(f"at most {at_most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def run(request: Request, who: Principal, service: Routing, body: BaseModel | None, command: Command) -> Response:
    """Run a command in one transaction. With an `Idempotency-Key` the first answer is kept and given again.

    Raises:
        Invalid: the key was used with another body.
        Unavailable: the database is away, or the command kept losing races.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise problems.Invalid([("Idempotency-Key", "expected 1 to 255 characters")])
    for _attempt in range(5):
        try:
            async with service.db.transaction() as tx:
                if key is None:
                    answer = await command(tx)
                    response = respond(answer)
                else:
                    response, answer = await _once(tx, request, who, key, body, command)
            service.committed(set(answer.groups))
            return response
        except (TryAgain, asyncpg.DeadlockDetectedError):
            continue
        except RecordTooLarge as error:
            raise problems.PayloadTooLarge(f"at most {error.at_most} bytes of one object, as it is kept") from None
    raise problems.Unavailable("others keep changing this; try the same again")


def respond(answer: Answer) -> Response:
    """An answer as HTTP."""
    headers = {"ETag": f'"{answer.etag}"'} if answer.etag is not None else None
    content = b"" if answer.status == 204 else to_json(answer.body, by_alias=True)
    return Response(content, answer.status, headers, "application/json")


async def _once(
    tx: Connection, request: Request, who: Principal, key: str, body: BaseModel | None, command: Command
) -> tuple[Response, Answer]:
    caller = f"{who.key}/{who.agent or ''}"
    place = (who.account, caller, f"{request.method} {request.url.path}", key)
    hashed = hashlib.blake2b(b"" if body is None else to_json(body), digest_size=16).digest()
    mine = await tx.fetchval(
        "insert into first_answers (account, caller, path, key, body_hash) values ($1, $2, $3, $4, $5)"
        " on conflict do nothing returning key",
        *place,
        hashed,
    )
    if mine is None:
        first = await tx.fetchrow(
            "select body_hash, status, body, etag from first_answers"
            " where account = $1 and caller = $2 and path = $3 and key = $4",
            *place,
        )
        assert first is not None
        if first["body_hash"] != hashed:
            raise problems.Invalid([("Idempotency-Key", "this key was used with another body")])
        headers = {"ETag": f'"{first["etag"]}"'} if first["etag"] is not None else None
        kind = "application/json" if first["status"] < 400 else problems.CONTENT_TYPE
        return Response(first["body"], first["status"], headers, kind), Answer(None)
    try:
        # A savepoint: what is refused leaves nothing behind but the refusal, which is an answer like any other.
        async with tx.transaction():
            answer = await command(tx)
        response = respond(answer)
    except problems.Problem as refused:
        if refused.status >= 500:
            raise
        answer, response = Answer(None), problems.respond(refused)
    await tx.execute(
        "update first_answers set status = $5, body = $6, etag = $7"
        " where account = $1 and caller = $2 and path = $3 and key = $4",
        *place,
        response.status_code,
        bytes(response.body),
        answer.etag,
    )
    return response, answer


def expected_version(request: Request) -> int | None:
    """The version that `If-Match` demands; None when any will do. Raises `PreconditionFailed` for one never given."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    try:
        return int(given.strip().removeprefix("W/").strip('"'))
    except ValueError:
        raise problems.PreconditionFailed("If-Match names a version that never was") from None


async def directory_of(tx: Connection, service: Routing, who: Principal) -> AccountDirectory:
    """The directory of the caller's account. Raises `Forbidden` for the operator, who belongs to none."""
    found = (await service.directories.load(tx, [who.account])).get(who.account)
    if found is None:
        raise problems.Forbidden("this needs a key of an account")
    return found


def acting_agent(who: Principal, directory: AccountDirectory) -> str:
    """The agent for whom the caller acts. Raises `Forbidden` without one, or for one that the account does not have."""
    agent = who.need_agent()
    if agent not in directory.agents:
        raise problems.Forbidden(f"Kefu-Agent: there is no agent {agent}")
    return agent


def now() -> datetime:
    """The clock of the outermost layer."""
    return datetime.now(UTC)


def trace_of(request: Request) -> str | None:
    """The trace context of what this request causes."""
    return traceparent(request.scope)


def by(request: Request, who: Principal) -> By:
    """Who makes a change of the directory."""
    return By(who.key, who.agent, trace_of(request))
