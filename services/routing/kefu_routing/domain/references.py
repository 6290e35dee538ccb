"""What directory objects refer to: nothing may point to what is not there, or be deleted while in use."""

from kefu_common.events.directory import DirectoryObject, Group, Kind, MailAddress, Plan, Site
from kefu_routing.domain.model import AccountDirectory


def faults(body: DirectoryObject, directory: AccountDirectory) -> list[tuple[str, str]]:
    """Every reference that points nowhere, as (path, what was expected)."""
    match body:
        case Site():
            missing = body.calendar is not None and body.calendar not in directory.calendars
            return [("calendar", f"there is no calendar {body.calendar}")] if missing else []
        case MailAddress():
            return [] if body.site in directory.sites else [("site", f"there is no site {body.site}")]
        case Group():
            return [
                (f"agents.{i}", f"there is no agent {agent}")
                for i, agent in enumerate(body.agents)
                if agent not in directory.agents
            ]
        case Plan():
            found = [
                (f"groups.{i}", f"there is no group {group}")
                for i, group in enumerate(body.groups)
                if group not in directory.groups
            ]
            if body.site not in directory.sites:
                found.append(("site", f"there is no site {body.site}"))
            other = directory.plans.get(body.site)
            if other is not None and other.id != body.id:
                found.append(("site", f"the plan {other.id} is already that of site {body.site}"))
            return found
        case _:
            return []


def users_of(kind: Kind, id: str, directory: AccountDirectory) -> list[str]:
    """What still needs the object, as `kind/id`."""
    match kind:
        case "calendar":
            return [f"site/{s.id}" for s in directory.sites.values() if s.calendar == id]
        case "site":
            plans = [f"plan/{p.id}" for p in directory.plans.values() if p.site == id]
            return plans + [f"address/{a.id}" for a in directory.addresses.values() if a.site == id]
        case "group":
            return [f"plan/{p.id}" for p in directory.plans.values() if id in p.groups]
        case "agent":
            return [f"group/{g.id}" for g in directory.groups.values() if id in g.agents]
        case _:
            return []
