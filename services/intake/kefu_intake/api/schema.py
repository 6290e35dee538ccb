"""The forms in the OpenAPI document, from the same types that check them."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from kefu_intake.domain.forms import ADAPTERS

_MODE: Final[JsonSchemaMode] = "validation"
_TEMPLATE: Final = "#/components/schemas/{model}"

_SCHEMAS, _DEFINITIONS = TypeAdapter.json_schemas(
    [(path, _MODE, adapter) for path, adapter in ADAPTERS.items()], ref_template=_TEMPLATE
)


def request_body(path: str) -> dict[str, Any]:
    """The OpenAPI request body of a path: one event or an array of at most 1,000."""
    one = _SCHEMAS[(path, _MODE)]
    schema = {"anyOf": [one, {"type": "array", "items": one, "maxItems": 1000}]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def add_forms(app: FastAPI) -> None:
    """Put the forms' schemas among the components of the app's OpenAPI document."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document["components"]["schemas"] |= _DEFINITIONS["$defs"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
