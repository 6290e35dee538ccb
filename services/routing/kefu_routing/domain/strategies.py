"""How a ticket's agent is chosen among those who may take it (H-08, H-09). Pure.

A strategy ranks a candidate: the lowest rank is offered the ticket, and the rank is shown in the ticket's history.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kefu_common.events.directory import Capacity, Load, Strategy
from kefu_common.events.words import Channel, PresenceState

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Candidate:
    """An agent of one or more groups: presence, what they hold per channel, and today's offers."""

    agent: str
    state: PresenceState | None
    capacity: Capacity
    held: dict[Channel, int]
    offers_today: int
    last_offer_at: datetime
    load: Load | None = None
    skills: Mapping[str, int] = field(default_factory=dict)
    freed_at: datetime = _NEVER
    """When the last thing that they had in hand ended, or they came."""
    is_leaving: bool = False
    """Whether they do something else after what is in hand."""
    is_looked_at: bool = True
    """False for who is given nothing at this moment, whatever they hold."""

    @property
    def is_here(self) -> bool:
        """Whether they take anything new."""
        return self.state is PresenceState.AVAILABLE and self.is_looked_at and not self.is_leaving

    @property
    def is_on_a_call(self) -> bool:
        """Calls are exclusive: nothing else comes meanwhile."""
        return self.held.get(Channel.CALL, 0) > 0

    def room_for(self, channel: Channel) -> int:
        """How many more of this channel stay within capacity; messages share the e-mails' capacity."""
        if channel is Channel.CALL:
            return max(0, self.capacity.call - self.held.get(channel, 0))
        if self.is_on_a_call:
            return 0
        room = self.most(channel) - self._count(channel)
        if self.load is not None:
            weight = self.load.chat if channel is Channel.CHAT else self.load.email
            room = min(room, (self.load.most - self._weight(self.load)) // weight)
        return max(0, room)

    def has_room_for(self, channel: Channel) -> bool:
        """Whether one more of this channel stays within capacity."""
        return self.room_for(channel) > 0

    def idle_rate(self, channel: Channel) -> float:
        """(capacity - current) / capacity, of the common load where there is one, else of the channel. Source: H-09."""
        if self.load is not None and channel is not Channel.CALL:
            return (self.load.most - self._weight(self.load)) / self.load.most if self.load.most else 0.0
        most = self.most(channel)
        return (most - self._count(channel)) / most if most else 0.0

    @property
    def in_hand(self) -> int:
        """How many tickets they hold, offered ones included."""
        return sum(self.held.values())

    def level_of(self, skills: Mapping[str, int]) -> int:
        """How well they know all of these."""
        return sum(self.skills.get(skill, 0) for skill in skills)

    def knows(self, skills: Mapping[str, int]) -> bool:
        """Whether they know each of these well enough."""
        return all(self.skills.get(skill, 0) >= level for skill, level in skills.items())

    def most(self, channel: Channel) -> int:
        """How many of this channel they hold at the most."""
        match channel:
            case Channel.CALL:
                return self.capacity.call
            case Channel.CHAT:
                return self.capacity.chat
            case Channel.EMAIL | Channel.MESSAGE:
                return self.capacity.email

    def _count(self, channel: Channel) -> int:
        if channel in (Channel.EMAIL, Channel.MESSAGE):
            return self.held.get(Channel.EMAIL, 0) + self.held.get(Channel.MESSAGE, 0)
        return self.held.get(channel, 0)

    def _weight(self, load: Load) -> int:
        return self._count(Channel.CHAT) * load.chat + self._count(Channel.EMAIL) * load.email


Skills = Mapping[str, int]
Rank = tuple[Any, ...]


def round_robin(candidate: Candidate, _channel: Channel, _skills: Skills) -> Rank:
    """销售型 (H-08): in turn, so that each agent's offers of the day even out; then whoever waited longest."""
    return candidate.offers_today, candidate.last_offer_at, candidate.agent


def least_loaded(candidate: Candidate, channel: Channel, _skills: Skills) -> Rank:
    """客服型 (H-09): by idle rate, then fewest in hand, then longest idle."""
    return -candidate.idle_rate(channel), candidate.in_hand, candidate.freed_at, candidate.agent


def longest_idle(candidate: Candidate, _channel: Channel, _skills: Skills) -> Rank:
    """Whoever has nothing in hand, and of these whose last work ended first; then, alike, those who have something."""
    return candidate.in_hand > 0, candidate.freed_at, candidate.last_offer_at, candidate.agent


def skill_first(candidate: Candidate, channel: Channel, skills: Skills) -> Rank:
    """Whoever knows best what the ticket's category needs; of equals as `least_loaded`."""
    return -candidate.level_of(skills), *least_loaded(candidate, channel, skills)


STRATEGIES: Mapping[Strategy, Callable[[Candidate, Channel, Skills], Rank]] = {
    "round_robin": round_robin,
    "least_loaded": least_loaded,
    "longest_idle": longest_idle,
    "skill_first": skill_first,
}
