"""What directory objects refer to: nothing may point to what is not there, or be deleted while in use."""

from collections.abc import Container, Iterable
from typing import Final, get_args

from kefu_common.events.directory import (
    Agent,
    BuiltInRole,
    Category,
    Department,
    DirectoryObject,
    Group,
    Kind,
    MailAddress,
    Plan,
    Role,
    Site,
)
from kefu_common.permissions import PERMISSIONS
from kefu_routing.domain.model import AccountDirectory

Fault = tuple[str, str]
"""A path, and what was expected there."""
BUILT_IN_ROLES: Final = frozenset(get_args(BuiltInRole))


def faults(body: DirectoryObject, directory: AccountDirectory) -> list[Fault]:
    """Every reference that points nowhere."""
    match body:
        case Site():
            return _missing_one("calendar", body.calendar, "calendar", directory.calendars)
        case MailAddress():
            return _missing_one("site", body.site, "site", directory.sites)
        case Group():
            return _missing("agents", body.agents, "agent", directory.agents)
        case Plan():
            return _faults_of_plan(body, directory)
        case Agent():
            roles = BUILT_IN_ROLES | directory.roles.keys()
            return _missing("roles", body.roles, "role", roles) + _taken(body, directory)
        case Role():
            expected = f"expected one of {', '.join(sorted(PERMISSIONS))}"
            return [(f"permissions.{i}", expected) for i, p in enumerate(body.permissions) if p not in PERMISSIONS]
        case Department():
            head = _missing_one("head", body.head, "agent", directory.agents)
            return head + _missing("agents", body.agents, "agent", directory.agents)
        case Category():
            return _faults_of_category(body, directory)
        case _:
            return []


def _taken(agent: Agent, directory: AccountDirectory) -> list[Fault]:
    """A login is one person's, and a phone rings at one agent (D-09)."""
    claims = (("login", agent.login, directory.by_login), ("phone", agent.phone, directory.by_phone))
    takers = [(path, known.get(mine or "", agent.id)) for path, mine, known in claims]
    return [(path, f"it is already that of agent {taker}") for path, taker in takers if taker != agent.id]


def _missing(path: str, names: Iterable[str], what: str, known: Container[str]) -> list[Fault]:
    return [(f"{path}.{i}", f"there is no {what} {name}") for i, name in enumerate(names) if name not in known]


def _missing_one(path: str, name: str | None, what: str, known: Container[str]) -> list[Fault]:
    return [] if name is None or name in known else [(path, f"there is no {what} {name}")]


def _faults_of_plan(plan: Plan, directory: AccountDirectory) -> list[Fault]:
    found = _missing("groups", plan.groups, "group", directory.groups)
    for i, step in enumerate(plan.overflow):
        found += _missing(f"overflow.{i}.widen_to", step.widen_to, "group", directory.groups)
    found += _missing_one("site", plan.site, "site", directory.sites)
    other = directory.plans.get(plan.site)
    if other is not None and other.id != plan.id:
        found.append(("site", f"the plan {other.id} is already that of site {plan.site}"))
    return found


def _faults_of_category(category: Category, directory: AccountDirectory) -> list[Fault]:
    seen, parent = {category.id}, category.parent
    while parent is not None:
        if parent in seen:
            return [("parent", f"a category is not its own ancestor: {parent} would be")]
        seen.add(parent)
        known = directory.categories.get(parent)
        if known is None:
            # Of an ancestor further up, its own fault tells.
            return [("parent", f"there is no category {parent}")] if parent == category.parent else []
        parent = known.parent
    return []


def users_of(kind: Kind, id: str, directory: AccountDirectory) -> list[str]:
    """What still needs the object, as `kind/id`."""
    plans, groups = directory.plans.values(), directory.groups.values()
    match kind:
        case "calendar":
            return [f"site/{s.id}" for s in directory.sites.values() if s.calendar == id]
        case "site":
            return [f"plan/{p.id}" for p in plans if p.site == id] + [
                f"address/{a.id}" for a in directory.addresses.values() if a.site == id
            ]
        case "group":
            return [f"plan/{p.id}" for p in plans if id in p.groups or any(id in o.widen_to for o in p.overflow)]
        case "agent":
            return [f"group/{g.id}" for g in groups if id in g.agents] + [
                f"department/{d.id}" for d in directory.departments.values() if id == d.head or id in d.agents
            ]
        case "role":
            # What it stood for is still there without it.
            return [] if id in BUILT_IN_ROLES else [f"agent/{a.id}" for a in directory.agents.values() if id in a.roles]
        case "category":
            return [f"category/{c.id}" for c in directory.categories.values() if c.parent == id] + [
                f"group/{g.id}" for g in groups if id in g.categories
            ]
        case _:
            return []
