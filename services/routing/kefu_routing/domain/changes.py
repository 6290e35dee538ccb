"""What a change of the directory is, field by field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kefu_common.events.directory import Kind

Action = Literal["created", "changed", "deleted"]
Body = dict[str, Any]
"""A directory object as JSON."""
NEVER_SHOWN: Final = frozenset({"hash", "sealed"})
"""Fields that hold a secret, or what one can be tried against."""


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something: the key, the agent for whom it acts, and the trace of the request."""

    key: str
    agent: str | None = None
    traceparent: str | None = None


KEFU: Final = By("kefu")
"""What no caller asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after. It was created if there is nothing before, and deleted if there is nothing after."""

    kind: Kind
    id: str
    before: Body | None
    after: Body | None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What one field was and is; None where there is nothing."""

    path: str
    before: Any
    after: Any


def action_of(before: object | None, after: object | None) -> Action:
    """What happened to an object."""
    if before is None:
        return "created"
    return "changed" if after is not None else "deleted"


def diff(before: Body | None, after: Body | None) -> list[FieldChange]:
    """The fields that differ, dots between the steps of a path.

    A list is told as a whole, unless its objects are as many as before: then by the number of each.
    """
    return _diff("", before or {}, after or {})


def _diff(path: str, before: object, after: object) -> list[FieldChange]:
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return _diff_steps(path, before, after)
    if isinstance(before, list) and isinstance(after, list) and _are_alike(before, after):
        return _diff_steps(path, dict(enumerate(before)), dict(enumerate(after)))
    return [FieldChange(path, before, after)]


def _are_alike(before: list[object], after: list[object]) -> bool:
    return len(before) == len(after) and all(isinstance(item, dict) for item in (*before, *after))


def _diff_steps(path: str, before: Mapping[Any, object], after: Mapping[Any, object]) -> list[FieldChange]:
    return [
        change
        for step in {**before, **after}
        for change in _diff(f"{path}.{step}" if path else str(step), before.get(step), after.get(step))
    ]


def without_secrets(value: Any) -> Any:
    """The same JSON without what is never shown, however deep."""
    match value:
        case dict():
            return {name: without_secrets(inner) for name, inner in value.items() if name not in NEVER_SHOWN}
        case list():
            return [without_secrets(inner) for inner in value]
        case _:
            return value
