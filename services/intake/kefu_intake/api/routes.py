"""The paths that adapters post to. Bodies are read and checked by intake itself: one pass, no copies."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kefu_common.attachments import Attachment
from kefu_common.http.auth import Principal, unproven_principal
from kefu_common.http.observed import traceparent
from kefu_common.http.problems import BadRequest, Forbidden, Invalid, Problem, Unavailable, UnsupportedMediaType
from kefu_common.telemetry import metrics
from kefu_intake.api import documented
from kefu_intake.api.accept import Acceptance, Accepted, Refused
from kefu_intake.api.body import (
    MAX_FILE_BYTES,
    declared_length,
    is_array,
    media_type,
    read_file_body,
    read_json_body,
)
from kefu_intake.api.files import Files, Room
from kefu_intake.api.limiter import Limiter
from kefu_intake.api.mails import Mails
from kefu_intake.domain.content_types import type_of
from kefu_intake.domain.forms import CLOUD_EVENTS, PATHS, NotJson, read_json

_JSON: Final = "application/json"
_STRUCTURED: Final = (b"application/cloudevents+json", b"application/cloudevents-batch+json", b"application/json")
_MAILS: Final = (b"message/rfc822", b"application/octet-stream")
"""Some HTTP clients know no other type for bytes."""
_ATTRIBUTE: Final = b"ce-"
_UPLOADERS: Final = ("chats:write", "emails:write")


@dataclass(frozen=True, slots=True)
class Intake:
    """What the endpoints need; the app keeps it as `app.state.intake`."""

    acceptance: Acceptance
    mails: Mails
    files: Files
    room: Room
    limiter: Limiter
    directory_problem: Callable[[], str | None]
    """Why keys cannot be judged yet, if so."""


Answering = Callable[[Request, Intake, Principal], Awaitable[Response]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class LeanRoute(APIRoute):
    """Calls the endpoint without FastAPI's stacks for dependencies, which cost half as much again as accepting."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one post; another method is answered by FastAPI."""
        if scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def router() -> APIRouter:
    """All paths to post to."""
    made = APIRouter(tags=["events"], route_class=LeanRoute)
    for path in PATHS:
        made.add_api_route(f"/v1/{path}", _endpoint(_simple(path)), **documented.simple(path))
    made.add_api_route(f"/v1/{CLOUD_EVENTS}", _endpoint(_cloud_events), **documented.cloud_events())
    made.add_api_route("/v1/emails/raw", _endpoint(_mail), **documented.mail())
    made.add_api_route("/v1/attachments", _endpoint(_upload), **documented.upload())
    return made


def _endpoint(answer: Answering) -> Endpoint:
    async def post(request: Request) -> Response:
        started = time.perf_counter()
        status = 500
        intake: Intake = request.app.state.intake
        who: Principal | None = None
        try:
            if (problem := intake.directory_problem()) is not None:
                raise Unavailable(problem)
            who = await unproven_principal(request)
            intake.limiter.check(who)
            response = await answer(request, intake, who)
            status = response.status_code
            if who.rate_per_s is not None:
                response.headers.update(intake.limiter.headers(who))
        except Problem as problem:
            status = problem.status
            if who is not None and who.rate_per_s is not None:
                problem.headers.update(intake.limiter.headers(who))
            raise
        finally:
            metrics.ACCEPT_SECONDS.labels(status).observe(time.perf_counter() - started)
        return response

    return post


def _simple(path: str) -> Answering:
    scope = f"{path}:write"

    async def answer(request: Request, intake: Intake, who: Principal) -> Response:
        who.need(scope)
        body = await read_json_body(request)
        _prove(who, body)
        return await _taken(request, intake, who, path, body)

    return answer


async def _cloud_events(request: Request, intake: Intake, who: Principal) -> Response:
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    body = await read_json_body(request, _STRUCTURED)
    _prove(who, body)
    if b"ce-specversion" in headers and media_type(request) == b"application/json":
        intake.limiter.count(who, 1)
        item = _binary(headers, body)
        return _accepted(await intake.acceptance.item(CLOUD_EVENTS, item, who, traceparent(request.scope)))
    kind = media_type(request)
    if kind == b"application/cloudevents-batch+json" and not is_array(body):
        raise Invalid([("", "expected an array, which a batch is")])
    if kind == b"application/cloudevents+json" and is_array(body):
        raise Invalid([("", "expected one event; a batch is sent as application/cloudevents-batch+json")])
    return await _taken(request, intake, who, CLOUD_EVENTS, body)


def _binary(headers: dict[bytes, bytes], body: bytes | bytearray) -> dict[str, object]:
    """A CloudEvent whose attributes are headers and whose data is the body (binary content mode)."""
    item: dict[str, object] = {
        name.removeprefix(_ATTRIBUTE).decode("latin-1"): unquote(value.decode("latin-1"), errors="replace")
        for name, value in headers.items()
        if name.startswith(_ATTRIBUTE)
    }
    item |= {"datacontenttype": _JSON}
    if body:
        try:
            item["data"] = read_json(body)
        except NotJson as error:
            raise BadRequest(f"the body is not JSON: {error}") from None
    return item


async def _taken(request: Request, intake: Intake, who: Principal, path: str, body: bytes | bytearray) -> Response:
    """One event, or an array of them."""
    context = traceparent(request.scope)
    if is_array(body):
        judged = intake.acceptance.judge(path, body, who, context)
        del body  # up to 8 MiB, which nobody needs while Kafka writes
        intake.limiter.count(who, len(judged.items))
        return _array_answer(await intake.acceptance.many(judged))
    intake.limiter.count(who, 1)
    return _accepted(await intake.acceptance.one(path, body, who, context))


async def _mail(request: Request, intake: Intake, who: Principal) -> Response:
    who.need("emails:write")
    site = _asked(request, "site")
    if site is None:
        raise Invalid([("site", "expected ?site= and the id of the site to which the mail came")])
    if media_type(request) not in _MAILS:
        raise UnsupportedMediaType("send message/rfc822")
    async with intake.room.of(declared_length(request) or MAX_FILE_BYTES):
        raw = await read_file_body(request)
        _prove(who, raw)
        intake.limiter.count(who, 1)
        return _accepted(await intake.mails.accept(bytes(raw), site, who, traceparent(request.scope)))


async def _upload(request: Request, intake: Intake, who: Principal) -> Response:
    if not any(scope in who.scopes for scope in _UPLOADERS):
        raise Forbidden(f"the key lacks a scope to write what may have attachments: {' or '.join(_UPLOADERS)}")
    async with intake.room.of(declared_length(request) or MAX_FILE_BYTES):
        content = bytes(await read_file_body(request))
        _prove(who, content)
        intake.limiter.count(who, 1)
        if not content:
            raise Invalid([("", "expected a file of at least one byte")])
        stored = await intake.files.store(
            who.account, content, type_of(content, media_type(request).decode("latin-1"), _asked(request, "name"))
        )
    return Response(to_json(_shown(stored)), 201, media_type=_JSON)


def _shown(stored: Attachment) -> dict[str, object]:
    return {"ref": stored.ref, "type": stored.type, "size": stored.size, "sha256": stored.sha256}


def _asked(request: Request, name: str) -> str | None:
    """A parameter of the query. Raises `Invalid` for others, or for one that is given twice or empty."""
    given = parse_qs(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    wrong = [(other, "unknown parameter") for other in given if other != name]
    values = given.get(name, [])
    if len(values) > 1 or values == [""]:
        wrong.append((name, "expected one value"))
    if wrong:
        raise Invalid(wrong)
    return values[0] if values else None


def _prove(who: Principal, body: bytes | bytearray) -> None:
    if who.proof is not None:
        who.proof.check(body)


def _accepted(accepted: Accepted) -> Response:
    return Response(to_json(accepted), 202, media_type=_JSON)


def _array_answer(results: Sequence[Accepted | Refused]) -> Response:
    items = [_item(each) for each in results]
    headers = {"Retry-After": "1"} if any(item["status"] == 503 for item in items) else None
    return Response(to_json({"items": items}), 200, headers, _JSON)


def _item(result: Accepted | Refused) -> dict[str, object]:
    if isinstance(result, Accepted):
        return {"id": result.id, "status": 202, "event": result.event}
    problem = result.problem
    errors = problem.extra.get("errors") or [{"path": "", "message": problem.detail}]
    return {"id": result.id, "status": problem.status, "errors": errors}
