"""Whether a site is online: open, and somebody there (O-01). Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from kefu_common.events.directory import Group
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain import admission
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory
from kefu_routing.domain.strategies import Candidate

AgentKey = tuple[str, str]
"""Account and agent."""


def groups_of(directory: AccountDirectory, site: str) -> list[Group]:
    """The groups of the site's plan that there are."""
    plan = directory.plans.get(site)
    return [directory.groups[g] for g in plan.groups if g in directory.groups] if plan is not None else []


def is_online(directory: AccountDirectory, site: str, there: Collection[AgentKey], now: datetime) -> bool:
    """Whether a visitor of the site finds somebody now; `there` are agents, each by account and id."""
    if admission.opens_at(directory, site, now) > now:
        return False
    account = directory.account.id
    return any((account, agent) in there for group in groups_of(directory, site) for agent in group.agents)


def has_room(
    directory: AccountDirectory,
    groups: Iterable[Group],
    available: Collection[AgentKey],
    held: Mapping[AgentKey, Mapping[Channel, int]],
) -> bool:
    """Whether one of the groups' agents who are available could take another call or chat at once."""
    account = directory.account.id
    team = {(account, agent) for group in groups for agent in group.agents if agent in directory.agents}
    team &= set(available)
    candidates = [hands_of(directory, agent, held.get((account, agent), {})) for _, agent in team]
    return any(candidate.has_room_for(channel) for candidate in candidates for channel in LIVE_CHANNELS)


def hands_of(directory: AccountDirectory, agent: str, held: Mapping[Channel, int]) -> Candidate:
    """What the agent has room for, beside what they hold."""
    known = directory.agents[agent]
    never = datetime.fromtimestamp(0, UTC)
    return Candidate(agent, PresenceState.AVAILABLE, known.capacity, dict(held), 0, never, known.load, known.skills)
