"""The paths that adapters post to. Bodies are read and checked by intake itself: one pass, no copies."""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kefu_common.http.auth import principal
from kefu_common.http.observed import traceparent
from kefu_common.http.problems import FieldError, Problem, Unavailable, declared
from kefu_common.telemetry import metrics
from kefu_intake.api.accept import Acceptance, Accepted, Refused
from kefu_intake.api.body import is_array, read_body
from kefu_intake.api.schema import request_body
from kefu_intake.domain.forms import PATHS

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Intake:
    """What the endpoints need; the app keeps it as `app.state.intake`."""

    acceptance: Acceptance
    directory_problem: Callable[[], str | None]
    """Why keys cannot be judged yet, if so."""


class AcceptedBody(BaseModel):
    """The event is on its way; `event` is its CloudEvents id, the same whenever it is posted again."""

    id: str
    interaction: str
    event: str


class ItemBody(BaseModel):
    """One item of an array; `status` is what the event alone would have got."""

    id: str | None
    status: int
    event: str | None = None
    errors: list[FieldError] | None = None


class ItemsBody(BaseModel):
    """The items' answers, in order."""

    items: list[ItemBody]


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
    """All paths of the simple form."""
    made = APIRouter(tags=["events"], route_class=LeanRoute)
    for path in PATHS:
        made.add_api_route(
            f"/v1/{path}",
            _endpoint(path),
            methods=["POST"],
            status_code=202,
            summary=f"Post one event or an array of the types {', '.join(PATHS[path])}",
            operation_id=f"post_{path}",
            responses={202: {"model": AcceptedBody}, 200: {"model": ItemsBody}, **declared(*_ERRORS)},
            response_class=Response,
            response_model=None,
            openapi_extra={"requestBody": request_body(path)},
        )
    return made


_ERRORS = (400, 401, 403, 413, 415, 422, 503)


def _endpoint(path: str) -> Endpoint:
    scope = f"{path}:write"

    async def post(request: Request) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            response = await _answer(request, path, scope)
            status = response.status_code
        except Problem as problem:
            status = problem.status
            raise
        finally:
            metrics.ACCEPT_SECONDS.labels(status).observe(time.perf_counter() - started)
        return response

    return post


async def _answer(request: Request, path: str, scope: str) -> Response:
    intake: Intake = request.app.state.intake
    if (problem := intake.directory_problem()) is not None:
        raise Unavailable(problem)
    who = await principal(request)
    who.need(scope)
    body = await read_body(request)
    context = traceparent(request.scope)
    if is_array(body):
        judged = intake.acceptance.judge(path, body, who, context)
        del body  # up to 8 MiB, which nobody needs while Kafka writes
        return _array_answer(await intake.acceptance.many(judged))
    accepted = await intake.acceptance.one(path, body, who, context)
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
