"""Reading the document of a whole directory: every field that is wrong, with its path."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from kefu_common.events.directory import DIRECTORY_MODELS, DirectoryObject, Name, TimeZone
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_routing.api.yaml_text import NotYaml, read_yaml
from kefu_routing.domain.references import Fault
from kefu_routing.domain.whole import COLLECTIONS, ObjectKey

M = TypeVar("M", bound=BaseModel)
YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})


class AccountTerms(Given):
    """What the document says of the account itself: its licence is the operator's."""

    short_name: Name | None = None
    time_zone: TimeZone | None = None


@dataclass(slots=True)
class WholeFile:
    """What a document holds, as far as it can be read, and what is wrong with the rest."""

    account: AccountTerms = field(default_factory=AccountTerms)
    objects: dict[ObjectKey, DirectoryObject] = field(default_factory=dict)
    broken: dict[ObjectKey, DirectoryObject] = field(default_factory=dict)
    """Stand-ins for objects with faults, so that what refers to them is not called wrong too."""
    faults: list[Fault] = field(default_factory=list)


def read(raw: bytes, content_type: str) -> WholeFile:
    """Read a document. Raises `BadRequest` or `UnsupportedMediaType`; faults are within."""
    if content_type in YAML_TYPES:
        try:
            given = read_yaml(raw)
        except NotYaml as error:
            raise problems.BadRequest(f"the body is not YAML as it is taken here: {error}") from None
    elif content_type == "application/json":
        try:
            given = from_json(raw, allow_inf_nan=False)
        except ValueError:
            raise problems.BadRequest("the body is not JSON") from None
    else:
        raise problems.UnsupportedMediaType("send application/yaml or application/json")
    if not isinstance(given, dict):
        raise problems.Invalid([("", f"expected an object with some of account, {', '.join(COLLECTIONS)}")])
    found = WholeFile()
    for name, content in given.items():
        if name == "account":
            found.account = _read(AccountTerms, "account", {} if content is None else content, found) or found.account
        elif name in COLLECTIONS:
            _read_collection(name, content, found)
        else:
            found.faults.append((str(name), "unknown field"))
    return found


def _read_collection(name: str, content: object, found: WholeFile) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        found.faults.append((name, "expected an object: the objects by their ids"))
        return
    kind = COLLECTIONS[name]
    model = DIRECTORY_MODELS[kind]
    for id, given in content.items():
        path = f"{name}.{id}"
        if not isinstance(given, dict):
            found.faults.append((path, "expected an object"))
            body = None
        elif given.get("id", id) != id:
            found.faults.append((f"{path}.id", f"expected {id}, or nothing"))
            body = None
        else:
            body = _read(model, path, {**given, "id": id}, found)
        if body is not None:
            found.objects[kind, id] = body
        elif kind != "plan":  # nothing refers to a plan
            # It stands for what others refer to; of a group one also asks who its agents are.
            found.broken[kind, id] = model.model_construct(**_STAND_IN | {"id": id})


_STAND_IN: dict[str, Any] = {"agents": []}


def _read(model: type[M], path: str, given: Any, found: WholeFile) -> M | None:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = problems.field_errors(error.errors(include_url=False))
        found.faults += [(f"{path}.{step}" if step else path, what) for step, what in wrong]
        return None
