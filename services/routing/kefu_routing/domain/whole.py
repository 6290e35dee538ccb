"""The whole directory as one document: what is wrong with it, and what it changes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

from kefu_common.events.directory import DirectoryObject, Kind, MailAddress, Plan
from kefu_routing.domain import references
from kefu_routing.domain.changes import Change
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.references import Fault

ObjectKey = tuple[Kind, str]
Claim = tuple[str, str]
Objects = Mapping[ObjectKey, DirectoryObject]
COLLECTIONS: Final[dict[str, Kind]] = {
    "calendars": "calendar",
    "sites": "site",
    "roles": "role",
    "agents": "agent",
    "groups": "group",
    "departments": "department",
    "categories": "category",
    "plans": "plan",
    "addresses": "address",
}
"""What the document holds beside the account's own fields, in its order. Keys and secrets are never in it."""
PATHS: Final[dict[Kind, str]] = {kind: path for path, kind in COLLECTIONS.items()}
_LICENCE: Final = frozenset({"id", "licensed_seats"})


def objects_of(directory: AccountDirectory) -> dict[ObjectKey, DirectoryObject]:
    """What the document is about."""
    kinds: dict[Kind, Iterable[DirectoryObject]] = {
        "account": [directory.account],
        "calendar": directory.calendars.values(),
        "site": directory.sites.values(),
        "role": directory.roles.values(),
        "agent": directory.agents.values(),
        "group": directory.groups.values(),
        "department": directory.departments.values(),
        "category": directory.categories.values(),
        "plan": directory.plans.values(),
        "address": directory.addresses.values(),
    }
    return {(kind, body.id): body for kind, bodies in kinds.items() for body in bodies}


def document_of(directory: AccountDirectory) -> dict[str, Any]:
    """The directory as one document: objects by their ids, without what is as it would be anyway."""
    document: dict[str, Any] = {"account": directory.account.model_dump(mode="json", exclude=set(_LICENCE))}
    for (kind, id), body in sorted(objects_of(directory).items()):
        if kind != "account":
            document.setdefault(PATHS[kind], {})[id] = _written(body)
    return {path: document[path] for path in ("account", *COLLECTIONS) if path in document}


def _written(body: DirectoryObject) -> dict[str, Any]:
    written = body.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
    if "country" in written:
        # Unsaid, they would begin with those of the country.
        written |= body.model_dump(mode="json", include={"holidays", "make_up_days"})
    return written


def path_of(kind: Kind, id: str) -> str:
    """Where an object stands in the document."""
    return "account" if kind == "account" else f"{PATHS[kind]}.{id}"


def faults(given: Objects, result: Objects, directory: AccountDirectory) -> list[Fault]:
    """Every reference of the given objects that points nowhere in the result, and what two of the result claim."""
    claims: dict[Claim, list[str]] = defaultdict(list)
    for body in result.values():
        for claim in _claims_of(body):
            claims[claim].append(body.id)
    found: dict[str, str] = {}
    for (kind, id), body in given.items():
        twice = [
            (claim[0], f"{other} has the same")
            for claim in _claims_of(body)
            for other in claims[claim]
            if other != body.id
        ]
        for path, what in chain(twice, references.faults(body, directory)):
            found.setdefault(f"{path_of(kind, id)}.{path}", what)
    return list(found.items())


def _claims_of(body: DirectoryObject) -> list[Claim]:
    """What no other object may have too: the field and its value."""
    match body:
        case Plan():
            return [("site", body.site)]
        case MailAddress():
            return [("address", body.address)]
        case _:
            return []


def changes(current: Objects, result: Objects) -> list[Change]:
    """What becomes of each object that is not the same before and after."""
    found = []
    for key in {**current, **result}:
        before, after = current.get(key), result.get(key)
        if before != after:
            found.append(Change(*key, _dumped(before), _dumped(after)))
    order: list[Kind] = ["account", *COLLECTIONS.values()]
    return sorted(found, key=lambda c: (order.index(c.kind), c.id))


def _dumped(body: DirectoryObject | None) -> dict[str, Any] | None:
    return None if body is None else body.model_dump(mode="json")
