"""Who gets which ticket, and why. Pure: the same waiting tickets and agents always give the same decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from kefu_common.events.directory import Capacity, Strategy
from kefu_common.events.words import Channel, PresenceState

PASS_S = 30
"""An agent who declined or lapsed a ticket is not offered it again for so long."""

GroupKey = tuple[str, str]
"""Account and group."""

_URGENCY = {Channel.CALL: 0, Channel.CHAT: 1, Channel.EMAIL: 2, Channel.MESSAGE: 3}


class RuledOut(StrEnum):
    """Why an agent cannot be offered a ticket; the words of `history`."""

    SIGNED_OUT = "signed_out"
    NOT_AVAILABLE = "not_available"
    AT_CAPACITY = "at_capacity"
    PASSED = "declined_or_lapsed_it_lately"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket that waits in a group; `passed` tells who declined or lapsed it, and when."""

    ticket: object
    group: GroupKey
    channel: Channel
    priority: int
    since: datetime
    strategy: Strategy
    passed: Mapping[str, datetime]
    takes_capacity: bool = True
    """False for what remains of a call or chat that is over."""


@dataclass(slots=True)
class Candidate:
    """An agent of one or more groups: presence, what they hold per channel, and today's offers."""

    agent: str
    state: PresenceState | None
    capacity: Capacity
    held: dict[Channel, int]
    offers_today: int
    last_offer_at: datetime

    def room_for(self, channel: Channel) -> int:
        """How many more of this channel stay within capacity; messages share the e-mails' capacity."""
        match channel:
            case Channel.CALL:
                free = self.capacity.call - self.held.get(channel, 0)
            case Channel.CHAT:
                free = self.capacity.chat - self.held.get(channel, 0)
            case Channel.EMAIL | Channel.MESSAGE:
                free = self.capacity.email - self.held.get(Channel.EMAIL, 0) - self.held.get(Channel.MESSAGE, 0)
        return max(0, free)

    def has_room_for(self, channel: Channel) -> bool:
        """Whether one more of this channel stays within capacity."""
        return self.room_for(channel) > 0


@dataclass(frozen=True, slots=True)
class Decision:
    """Offer `ticket` to `agent`; `why` names the strategy, who was considered and who was ruled out by which rule."""

    ticket: object
    agent: str
    why: dict[str, object] = field(compare=False)


Rank = tuple[int, datetime, str]


def round_robin(candidate: Candidate) -> Rank:
    """销售型 (H-08): in turn, so that each agent's offers of the day even out; then whoever waited longest."""
    return candidate.offers_today, candidate.last_offer_at, candidate.agent


STRATEGIES: Mapping[Strategy, Callable[[Candidate], Rank]] = {"round_robin": round_robin}
"""A strategy is a function that ranks a candidate: the lowest is offered the ticket."""


def in_order(waiting: Sequence[Waiting]) -> list[Waiting]:
    """The queue: most urgent first, calls before chats before e-mails, then the oldest."""
    return sorted(waiting, key=lambda w: (-w.priority, _URGENCY[w.channel], w.since))


def assign(waiting: Sequence[Waiting], teams: Mapping[GroupKey, Sequence[Candidate]], now: datetime) -> list[Decision]:
    """Decide for all that waits in these groups, in one go. Changes the candidates' counts as it goes.

    `teams` has the agents of each group; who is in several is the same candidate in each, so that the most urgent
    ticket of all groups comes first to them. A ticket for which every agent is ruled out waits on; it does not hold up
    the ones behind it.
    """
    decisions: list[Decision] = []
    here = {group: [a for a in team if a.state is PresenceState.AVAILABLE] for group, team in teams.items()}
    away = {
        group: {a.agent: _absence(a) for a in team if a.state is not PresenceState.AVAILABLE}
        for group, team in teams.items()
    }
    for ticket in in_order(waiting):
        fit, ruled_out = _sift(ticket, here[ticket.group], now)
        if not fit:
            continue
        rank = STRATEGIES[ticket.strategy]
        winner = min(fit, key=rank)
        why: dict[str, object] = {
            "strategy": ticket.strategy,
            "candidates": {c.agent: c.offers_today for c in fit},
            "ruled_out": {**away[ticket.group], **ruled_out},
            "chosen": winner.agent,
        }
        decisions.append(Decision(ticket.ticket, winner.agent, why))
        if ticket.takes_capacity:
            winner.held[ticket.channel] = winner.held.get(ticket.channel, 0) + 1
        winner.offers_today += 1
        winner.last_offer_at = now
    return decisions


def _sift(ticket: Waiting, present: Sequence[Candidate], now: datetime) -> tuple[list[Candidate], dict[str, RuledOut]]:
    fit: list[Candidate] = []
    ruled_out: dict[str, RuledOut] = {}
    for candidate in present:
        passed = ticket.passed.get(candidate.agent)
        if ticket.takes_capacity and not candidate.has_room_for(ticket.channel):
            ruled_out[candidate.agent] = RuledOut.AT_CAPACITY
        elif passed is not None and now - passed < timedelta(seconds=PASS_S):
            ruled_out[candidate.agent] = RuledOut.PASSED
        else:
            fit.append(candidate)
    return fit, ruled_out


def _absence(candidate: Candidate) -> RuledOut:
    return RuledOut.SIGNED_OUT if candidate.state is None else RuledOut.NOT_AVAILABLE


def offers_on(day: date, counted_on: date | None, count: int) -> int:
    """Today's count from the stored one: it starts anew each day."""
    return count if counted_on == day else 0
