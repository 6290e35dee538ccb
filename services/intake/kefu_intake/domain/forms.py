"""The simple form in which adapters post events, one strict type for each type of event (design, section 5)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NotRequired, Union

from pydantic import Field, GetPydanticSchema, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import core_schema, from_json
from typing_extensions import TypedDict

from kefu_common.events.envelope import TYPE_PREFIX
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_intake.domain import limits, twins
from kefu_intake.domain.complaints import Complaint, complaints

PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": (
        "call.started",
        "call.answered",
        "call.held",
        "call.resumed",
        "call.transferred",
        "call.ended",
    ),
    "chats": ("chat.started", "chat.message", "chat.ended"),
    "emails": ("email.received",),
    "messages": ("message.left",),
    "visits": ("visit.seen",),
    "ratings": ("rating.given",),
    "outcomes": ("instruction.done", "instruction.failed", "instruction.delivered", "instruction.read"),
}
"""The types that each path takes, without Kefu's prefix."""
CLOUD_EVENTS: Final = "events"
"""The path that takes all of them, as CloudEvents."""
SCOPES: Final[Mapping[str, str]] = {type: f"{path}:write" for path, types in PATHS.items() for type in types}
"""What a key needs for each type."""


class Form(TypedDict):
    """One posted event after its form was checked: the names of the wire, absent and null alike."""

    id: str
    type: str
    site: str
    interaction: str
    occurred_at: datetime
    source: NotRequired[str | None]
    category: NotRequired[str | None]
    contact: NotRequired[Mapping[str, str | None] | None]
    data: NotRequired[Mapping[str, object] | None]


class NotJson(Exception):
    """The bytes are no JSON in UTF-8."""


class FormInvalid(Exception):
    """It is JSON, but not such an event; `complaints` says where and why."""

    def __init__(self, found: list[Complaint]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in found))
        self.complaints = found


# A number, a date alone or a time without a zone would be taken by pydantic's own rules for strings.
_Instant = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.chain_schema(
            [
                core_schema.str_schema(pattern=limits.RFC_3339, strict=True),
                core_schema.datetime_schema(strict=False, tz_constraint="aware"),
            ]
        )
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
_COMMON: Final = frozenset(InteractionData.model_fields)


def _data(type: str) -> tuple[Any, bool]:
    """The twin of a type's data without what all types say, and whether it is required."""
    model = INTERACTION_MODELS[TYPE_PREFIX + type]
    needed = any(f.is_required() for name, f in model.model_fields.items() if name not in _COMMON)
    return twins.twin(model, without=_COMMON), needed


def _common() -> dict[str, Any]:
    return {name: twins.strict_field(name, info) for name, info in InteractionData.model_fields.items()}


def _form(type: str) -> Any:
    model = INTERACTION_MODELS[TYPE_PREFIX + type]
    data, is_needed = _data(type)
    fields = {
        "id": limits.Id,
        "type": Literal[type],
        "site": limits.Id,
        "interaction": limits.Id,
        "occurred_at": _Instant,
        **_common(),
        "data": data if is_needed else NotRequired[data | None],
    }
    return twins.typed_dict(f"{model.__name__}Form", model.__doc__, fields)


def _cloud_event(type: str) -> Any:
    """The same as a CloudEvent; what all types say is in its data."""
    model = INTERACTION_MODELS[TYPE_PREFIX + type]
    own, is_needed = _data(type)
    data = twins.typed_dict(f"{model.__name__}Data", model.__doc__, {**_common(), **own.__annotations__})
    fields = {
        "specversion": Literal["1.0"],
        "id": limits.Id,
        "type": Literal[TYPE_PREFIX + type],
        "source": limits.SiteSource,
        "subject": limits.Id,
        "time": _Instant,
        "datacontenttype": NotRequired[Literal["application/json"] | None],
        "data": data if is_needed else NotRequired[data | None],
        "data_base64": NotRequired[None],
    }
    return twins.typed_dict(f"{model.__name__}CloudEvent", model.__doc__, fields, twins.OPEN)


def _adapter(forms: tuple[Any, ...]) -> TypeAdapter[Any]:
    any_form: Any = forms[0]
    if len(forms) > 1:
        any_form = Annotated[Union[forms], Field(discriminator="type")]  # noqa: UP007 - made from a tuple
    return TypeAdapter(any_form)


ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    **{path: _adapter(tuple(map(_form, types))) for path, types in PATHS.items()},
    CLOUD_EVENTS: _adapter(tuple(map(_cloud_event, SCOPES))),
}
"""What checks the events of each path, in one pass over the bytes."""
_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    **PATHS,
    CLOUD_EVENTS: tuple(TYPE_PREFIX + type for type in SCOPES),
}


def read_json(body: bytes | bytearray) -> object:
    """The JSON of a body.

    Raises:
        NotJson: broken, not UTF-8, NaN or Infinity, nested too deep, or a lone surrogate.
    """
    try:
        found: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(str(error)) from None
    return found


def read_form(path: str, body: bytes | bytearray) -> Form:
    """One event from the bytes that were posted. Raises `NotJson` or `FormInvalid`."""
    try:
        return _taken(path, ADAPTERS[path].validate_json(body))
    except ValidationError as error:
        # Broken JSON is told apart only here, so that good events are parsed once.
        raise FormInvalid(_complaints(path, error, read_json(body))) from None


def take_form(path: str, item: object) -> Form:
    """One event from JSON that was parsed already. Raises `FormInvalid`."""
    try:
        return _taken(path, ADAPTERS[path].validate_python(item))
    except ValidationError as error:
        raise FormInvalid(_complaints(path, error, item)) from None


def _taken(path: str, valid: Any) -> Form:
    if path != CLOUD_EVENTS:
        form: Form = valid
        return form
    data = dict(valid.get("data") or {})
    return {
        "id": valid["id"],
        "type": valid["type"].removeprefix(TYPE_PREFIX),
        "site": valid["source"].removeprefix("/sites/"),
        "interaction": valid["subject"],
        "occurred_at": valid["time"],
        "source": data.pop("source", None),
        "category": data.pop("category", None),
        "contact": data.pop("contact", None),
        "data": data,
    }


def _complaints(path: str, error: ValidationError, body: object) -> list[Complaint]:
    """All that is wrong; with a wrong type also what is wrong beside `data`, which is the same for every type."""
    types = _TYPES[path]
    found = complaints(error, body, types)
    if not isinstance(body, dict) or [where for where, _ in found] != ["type"]:
        return found
    try:
        ADAPTERS[path].validate_python({**body, "type": types[0]})
    except ValidationError as beside:
        found += [c for c in complaints(beside, body, types) if c[0].partition(".")[0] != "data"]
    return found
