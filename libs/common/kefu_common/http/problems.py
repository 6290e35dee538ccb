"""Errors of the HTTP APIs as RFC 9457 problems.

Problem
├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404 · Conflict 409 · Gone 410
├── PreconditionFailed 412 · PayloadTooLarge 413 · UnsupportedMediaType 415 · Invalid 422 · TooManyRequests 429
└── Unavailable 503
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One wrong field: its path, dots between the steps, and what was expected."""

    path: str
    message: str


class ProblemBody(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Problem(Exception):
    """An answer that is an error. `extra` fields are added to the body."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The problem's JSON."""
        head = {"type": f"urn:kefu:problem:{self.slug}", "title": self.title, "status": self.status}
        return {**head, "detail": self.detail, **self.extra}


class BadRequest(Problem):
    """The body is no JSON at all."""

    status, title, slug = 400, "Bad request", "bad-request"


class Unauthorized(Problem):
    """No key, or one that nobody knows (any more)."""

    status, title, slug = 401, "Unknown key", "unauthorized"


class Forbidden(Problem):
    """The key or the person may not do this."""

    status, title, slug = 403, "Not permitted", "forbidden"


class NotFound(Problem):
    """Not there, or another account's."""

    status, title, slug = 404, "Not found", "not-found"


class Conflict(Problem):
    """The state does not allow it now."""

    status, title, slug = 409, "Conflict", "conflict"


class Gone(Problem):
    """It was there once."""

    status, title, slug = 410, "Gone", "gone"


class PreconditionFailed(Problem):
    """Somebody else changed it first."""

    status, title, slug = 412, "Precondition failed", "precondition-failed"


class PayloadTooLarge(Problem):
    """More than this path takes."""

    status, title, slug = 413, "Too large", "too-large"


class UnsupportedMediaType(Problem):
    """Another content type is needed."""

    status, title, slug = 415, "Unsupported media type", "unsupported-media-type"


class Invalid(Problem):
    """Fields are wrong; `errors` says which and what was expected."""

    status, title, slug = 422, "Invalid", "invalid"

    def __init__(self, errors: Sequence[tuple[str, str]], detail: str = "some fields are not as expected") -> None:
        super().__init__(detail, errors=[{"path": path, "message": message} for path, message in errors])


class TooManyRequests(Problem):
    """Over the key's rate."""

    status, title, slug = 429, "Too many requests", "too-many-requests"


class Unavailable(Problem):
    """Try the same again after `Retry-After` seconds."""

    status, title, slug = 503, "Unavailable", "unavailable"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


def field_errors(errors: Sequence[ErrorDetails], skip: int = 0) -> list[tuple[str, str]]:
    """Pydantic's errors as (path, message), leaving out the first `skip` steps of each path."""
    return [(".".join(str(step) for step in e["loc"][skip:]), _expected(e)) for e in errors]


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    return error["msg"].removeprefix("Value error, ")


def respond(problem: Problem) -> Response:
    """The HTTP answer of a problem."""
    return Response(to_json(problem.body()), problem.status, problem.headers, CONTENT_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""

    async def on_problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(error)

    async def on_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = error.errors()
        if any(e["type"] == "json_invalid" for e in errors):
            return respond(BadRequest("the body is not JSON"))
        return respond(Invalid(field_errors(errors, skip=1)))

    async def on_model_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationError)
        return respond(Invalid(field_errors(error.errors(include_url=False))))

    async def on_http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kinds: dict[int, type[Problem]] = {404: NotFound, 400: BadRequest}
        kind = kinds.get(error.status_code)
        if kind is not None:
            return respond(kind(str(error.detail)))
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code, "detail": error.detail}
        return Response(to_json(body), error.status_code, error.headers, CONTENT_TYPE)

    async def on_bug(_request: Request, _error: Exception) -> Response:
        # The server logs it; what it says may quote a customer's data, and is nothing that the caller can mend.
        return respond(Problem("something went wrong here; it has been logged"))

    app.add_exception_handler(Exception, on_bug)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ValidationError, on_model_invalid)
    app.add_exception_handler(HTTPException, on_http)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors that a route may answer."""
    return {s: {"model": ProblemBody, "content": {CONTENT_TYPE: {}}} for s in statuses}
