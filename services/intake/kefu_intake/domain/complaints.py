"""What is wrong with a posted event, for people: the path in their own body and what was expected there."""

from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kefu_intake.domain import limits

Complaint = tuple[str, str]
"""Path, with dots between the steps, and message."""

MOST: Final = 20
"""More than these are not listed: a body full of nonsense gets a short answer."""
_LONGEST_PATH: Final = 200
_UNKNOWN_TAG: Final = ("union_tag_invalid", "union_tag_not_found")


def complaints(error: ValidationError, body: object, types: Sequence[str]) -> list[Complaint]:
    """At most one complaint for each path, in the order found. `types` are those that would have been right."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False, include_input=False):
        wrong_only_type = each["type"] == "literal_error" and each["loc"] == ("type",)
        if wrong_only_type or each["type"] in _UNKNOWN_TAG:
            found.setdefault("type", f"expected one of: {', '.join(types)}")
            continue
        # With several types on a path, pydantic puts the type before the steps in the body.
        loc = each["loc"][1:] if len(types) > 1 else each["loc"]
        found.setdefault(_path(loc, body, each["type"]), _message(each))
        if len(found) == MOST:
            break
    return list(found.items())


def _path(loc: tuple[int | str, ...], body: object, kind: str) -> str:
    steps: list[str] = []
    place = body
    for number, step in enumerate(loc, 1):
        match place:
            case dict() if step in place:
                place = place[step]
            case list() if isinstance(step, int) and step < len(place):
                place = place[step]
            case _ if kind == "missing" and number == len(loc):
                pass
            case _:
                continue  # pydantic's name for a member of a union, or for the key of a mapping: no step in the body
        steps.append(str(step))
    return ".".join(steps)[:_LONGEST_PATH]


def _message(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "unknown field"
        case "missing":
            return "required"
        case "string_pattern_mismatch":
            return limits.EXPECTED[error["ctx"]["pattern"]]
        case "none_required":
            return "expected JSON in data instead"
        case "dict_type" | "model_attributes_type":
            return "expected an object"
        case _:
            return error["msg"].replace("Input should be", "expected", 1)
