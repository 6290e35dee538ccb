"""Reading the document of a whole directory: every field that is wrong, with its path."""

from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from kefu_common.events.directory import DIRECTORY_MODELS, DirectoryObject, Kind, Name, TimeZone
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_routing.api.yaml_text import NotYaml, read_yaml
from kefu_routing.domain.references import Fault
from kefu_routing.domain.whole import COLLECTIONS, ObjectKey

YAML_TYPES: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_REFERENCES: Final = frozenset(
    {"calendar", "site", "agents", "groups", "roles", "permissions", "head", "parent", "address"}
)
"""Fields that name other objects, or that no two objects may share."""
_NEEDED: Final[dict[Kind, frozenset[str]]] = {
    "plan": frozenset({"site", "groups"}),
    "address": frozenset({"site", "address"}),
}


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
    """Objects with faults, as far as they can be read: what they refer to is checked too, and what refers to them."""
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
            _read_account(content, found)
        elif name in COLLECTIONS:
            _read_collection(name, content, found)
        else:
            found.faults.append((str(name), "unknown field"))
    return found


def _read_account(content: object, found: WholeFile) -> None:
    try:
        found.account = AccountTerms.model_validate({} if content is None else content)
    except ValidationError as error:
        found.faults += _faults_of(error, "account")


def _read_collection(name: str, content: object, found: WholeFile) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        found.faults.append((name, "expected an object: the objects by their ids"))
        return
    kind = COLLECTIONS[name]
    for id, given in content.items():
        path = f"{name}.{id}"
        if not isinstance(given, dict):
            found.faults.append((path, "expected an object"))
            given = {}
        elif given.get("id", id) != id:
            found.faults.append((f"{path}.id", f"expected {id}, or nothing"))
        else:
            _read_object(kind, path, {**given, "id": id}, found)
            continue
        _keep_broken(kind, {**given, "id": id}, found)


def _read_object(kind: Kind, path: str, given: dict[str, Any], found: WholeFile) -> None:
    try:
        found.objects[kind, given["id"]] = DIRECTORY_MODELS[kind].model_validate(given)
    except ValidationError as error:
        found.faults += _faults_of(error, path)
        wrong = {e["loc"][0] for e in error.errors() if e["loc"]}
        _keep_broken(kind, {name: value for name, value in given.items() if name not in wrong}, found)


def _keep_broken(kind: Kind, sound: dict[str, Any], found: WholeFile) -> None:
    """What can be read of an object, if that is enough to tell what it refers to."""
    named = {name: sound[name] for name in _REFERENCES if sound.get(name) is not None}
    if named.keys() >= _NEEDED.get(kind, frozenset()):
        id = str(sound.get("id"))
        # Of a group one also asks who its agents are.
        found.broken[kind, id] = DIRECTORY_MODELS[kind].model_construct(**{"agents": []} | named | {"id": id})


def _faults_of(error: ValidationError, path: str) -> list[Fault]:
    wrong = problems.field_errors(error.errors(include_url=False))
    return [(f"{path}.{step}" if step else path, what) for step, what in wrong]
