"""Strict twins of the models that readers use, made from them, so that the two never drift.

A reader ignores what it does not know and fills in defaults. A twin takes the same fields, but forbids others, converts
nothing, bounds every text, and takes null for whatever is not required. It is a `TypedDict`: validating gives a plain
dict with the names of the wire.
"""

from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from kefu_common.events.interactions import BODY, STAMPED
from kefu_intake.domain import limits

STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
OPEN: Final = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
"""For what may carry more than we know: a CloudEvent's extension attributes."""

_make_typed_dict: Any = TypedDict  # the names come from a loop, which the type checker does not allow


def typed_dict(name: str, doc: str | None, fields: dict[str, Any], config: ConfigDict = STRICT) -> Any:
    """A strict `TypedDict` with these fields by their wire names."""
    made = _make_typed_dict(name, fields)
    made.__pydantic_config__ = config
    made.__doc__ = doc
    return made


def twin(model: type[BaseModel], *, without: frozenset[str] = frozenset()) -> Any:
    """The strict twin of a reader's model, leaving out the fields named in `without` and those that intake stamps."""
    fields = {
        info.alias or name: info
        for name, info in model.model_fields.items()
        if name not in without and STAMPED not in info.metadata
    }
    return typed_dict(model.__name__, model.__doc__, {wire: strict_field(wire, info) for wire, info in fields.items()})


def strict_field(wire: str, info: FieldInfo) -> Any:
    """A field's strict annotation; null is as good as absent when the reader does not require it."""
    metadata = (*info.metadata, Field(description=info.description))
    annotation = limits.Body if BODY in info.metadata else _strict(wire, info.annotation)
    strict: Any = Annotated[(annotation, *metadata)]
    return strict if info.is_required() else NotRequired[strict | None]


def _strict(wire: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is str:
        return _text(wire)
    if annotation is float:
        return Annotated[float, Field(ge=0, le=limits.MAX_SECONDS)] if wire.endswith("_s") else float
    if annotation in (int, NoneType) or origin is Literal:
        return annotation
    if origin in (Union, UnionType):
        return Union[tuple(_strict(wire, each) for each in arguments)]  # noqa: UP007 - made from a tuple
    if origin is list:
        most = limits.MAX_REPEATS if arguments[0] is str else limits.MAX_ATTACHMENTS
        many = Field(max_length=most, fail_fast=True)
        return Annotated[list[_strict(wire, arguments[0])], many]  # type: ignore[misc]
    if origin is dict:
        return Annotated[dict[limits.Name, _strict(wire, arguments[1])], Field(max_length=limits.MAX_HEADERS)]  # type: ignore[misc]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return twin(annotation)
    raise TypeError(f"{wire}: no strict form of {annotation} is known; add one to twins.py")


def _text(wire: str) -> Any:
    if wire not in limits.TEXTS:
        raise TypeError(f"{wire}: how long may it be? Add it to limits.TEXTS")
    return limits.TEXTS[wire]
