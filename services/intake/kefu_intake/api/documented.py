"""How the paths are described in the OpenAPI document, from the same types that check what is posted."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from starlette.responses import Response

from kefu_common.http.problems import FieldError, declared
from kefu_intake.api.body import MAX_ARRAY_EVENTS
from kefu_intake.domain.forms import ADAPTERS, CLOUD_EVENTS, PATHS

_MODE: Final[JsonSchemaMode] = "validation"
_TEMPLATE: Final = "#/components/schemas/{model}"

_SCHEMAS, _DEFINITIONS = TypeAdapter.json_schemas(
    [(path, _MODE, adapter) for path, adapter in ADAPTERS.items()], ref_template=_TEMPLATE
)
_ERRORS: Final = (400, 401, 403, 413, 415, 422, 429, 503)
_SECURITY: Final[dict[str, Any]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of the account. One that signs is not sent: the headers `Kefu-Key`,"
        " `Kefu-Timestamp` and `Kefu-Signature` take its place.",
    }
}
_FILE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}


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


class AttachmentBody(BaseModel):
    """A stored file: `ref` names it in events; its type was found by looking at the content."""

    ref: str
    type: str
    size: int
    sha256: str


def simple(path: str) -> dict[str, Any]:
    """A path of the simple form."""
    return _route(
        f"post_{path}",
        f"Post one event or an array of the types {', '.join(PATHS[path])}",
        {"application/json": {"schema": _one_or_many(path)}},
    )


def cloud_events() -> dict[str, Any]:
    """The path that takes CloudEvents."""
    one = _SCHEMAS[(CLOUD_EVENTS, _MODE)]
    return _route(
        "post_events",
        "Post CloudEvents 1.0 of any type: one (structured, or its data alone with `ce-` headers) or a batch",
        {
            "application/cloudevents+json": {"schema": one},
            "application/cloudevents-batch+json": {"schema": _many(CLOUD_EVENTS)},
            "application/json": {"schema": _one_or_many(CLOUD_EVENTS)},
        },
    )


def mail() -> dict[str, Any]:
    """The path that takes raw mails."""
    site = {"name": "site", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}}
    content = {"message/rfc822": _FILE, "application/octet-stream": _FILE}
    route = _route("post_mail", "Post an e-mail as it came", content)
    del route["responses"][200]
    route["openapi_extra"]["parameters"] = [site]
    return route


def upload() -> dict[str, Any]:
    """The path that takes files."""
    name = {"name": "name", "in": "query", "schema": {"type": "string", "minLength": 1}}
    route = _route("post_attachment", "Store a file, to name it in an event", {"application/octet-stream": _FILE})
    route["responses"] = {201: {"model": AttachmentBody}, **declared(*_ERRORS)}
    route["openapi_extra"]["parameters"] = [name]
    return route | {"status_code": 201}


def add_forms(app: FastAPI) -> None:
    """Put the forms' schemas among the components of the app's OpenAPI document."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document["components"]["schemas"] |= _DEFINITIONS["$defs"]
        document["components"]["securitySchemes"] = _SECURITY
        document["security"] = [{name: []} for name in _SECURITY]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _route(id: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "methods": ["POST"],
        "status_code": 202,
        "summary": summary,
        "operation_id": id,
        "responses": {202: {"model": AcceptedBody}, 200: {"model": ItemsBody}, **declared(*_ERRORS)},
        "response_class": Response,
        "response_model": None,
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def _many(path: str) -> dict[str, Any]:
    """An array is answered item by item: no item makes the whole array wrong, and its length is a matter of 413."""
    what = f"At most {MAX_ARRAY_EVENTS:,} events and 8 MiB. Each item gets the answer that it would get alone."
    return {"type": "array", "description": what, "items": {"anyOf": [_SCHEMAS[(path, _MODE)], {}]}}


def _one_or_many(path: str) -> dict[str, Any]:
    return {"anyOf": [_SCHEMAS[(path, _MODE)], _many(path)]}
