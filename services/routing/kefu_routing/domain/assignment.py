"""Who gets which ticket, and why. Pure: the same waiting tickets and agents always give the same decisions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from kefu_common.events.directory import Agent, Strategy
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain.model import Seat
from kefu_routing.domain.strategies import STRATEGIES, Candidate, Rank

PASS_S = 30
"""An agent who declined or lapsed a ticket is not offered it again for so long."""
HEAD_STARTS = {Channel.CALL: 2, Channel.CHAT: 1, Channel.EMAIL: 0, Channel.MESSAGE: 0}
"""Calls before chats before what is written: how many head starts each has."""
HEAD_START = timedelta(hours=12)
"""What a channel is ahead of the next, whatever the priorities; such a wait makes up for it, so that nobody starves."""

GroupKey = tuple[str, str]
"""Account and group."""


class RuledOut(StrEnum):
    """Why an agent cannot be offered a ticket; the words of `history`."""

    SIGNED_OUT = "signed_out"
    NOT_AVAILABLE = "not_available"
    LEAVING = "leaves_after_what_is_in_hand"
    ON_A_CALL = "on_a_call"
    AT_CAPACITY = "at_capacity"
    ELSEWHERE = "changed_by_somebody_else_at_that_moment"
    LACKS_SKILL = "lacks_skill"
    PASSED = "declined_or_lapsed_it_lately"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket that waits in a group; `passed` tells who declined or lapsed it, and when."""

    ticket: object
    group: GroupKey
    channel: Channel
    turn_at: datetime
    strategy: Strategy
    passed: Mapping[str, datetime]
    most_ahead: timedelta = timedelta(0)
    """How far priority and promises can bring any of the account's tickets forward."""
    takes_capacity: bool = True
    """False for what remains of a call or chat that is over."""
    wider: tuple[GroupKey, ...] = ()
    """Groups whose agents may take it too."""
    skills: Mapping[str, int] = field(default_factory=dict)
    """What an agent must know, and how well."""
    preferred: str | None = None
    preferred_until: datetime | None = None
    """Who served the contact last or invited them, and until when the ticket waits for them while they are busy."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Offer `ticket` to `agent`; `why` names the strategy, who was considered and who was ruled out by which rule."""

    ticket: object
    agent: str
    why: dict[str, object] = field(compare=False)


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """The queue: calls before chats before e-mails, then by turn: most urgent first, then the oldest."""
    return sorted(waiting, key=lambda w: w.turn_at - HEAD_STARTS[w.channel] * (HEAD_START + w.most_ahead))


def assign(waiting: Iterable[Waiting], teams: Mapping[GroupKey, Sequence[Candidate]], now: datetime) -> list[Decision]:
    """Decide for all that waits in these groups, in one go. Changes the candidates' counts as it goes.

    `teams` has the agents of each group; who is in several is the same candidate in each, so that the most urgent
    ticket of all groups comes first to them. A ticket for which every agent is ruled out waits on; it does not hold up
    the ones behind it.
    """
    decisions: list[Decision] = []
    sides: dict[tuple[GroupKey, ...], _Side] = {}
    rooms = _Rooms()
    for ticket in in_order(waiting):
        groups = (ticket.group, *ticket.wider)
        side = sides.get(groups)
        if side is None:
            side = sides[groups] = _Side(teams[group] for group in groups)
        kind = (ticket.channel, ticket.takes_capacity, *ticket.skills.items())
        if kind in side.hopeless:
            continue
        fit, ruled_out = _sift(ticket, side, rooms, now)
        if not fit:
            if not any(reason is RuledOut.PASSED for reason in ruled_out.values()):
                side.hopeless.add(kind)
            continue
        rank = STRATEGIES[ticket.strategy]
        ranks = {candidate.agent: rank(candidate, ticket.channel, ticket.skills) for candidate in fit}
        winner = _choose(ticket, side, fit, ranks, now)
        if winner is None:
            continue
        why = _why(ticket, ranks, {**side.away, **ruled_out}, winner)
        decisions.append(Decision(ticket.ticket, winner.agent, why))
        if ticket.takes_capacity:
            winner.held[ticket.channel] = winner.held.get(ticket.channel, 0) + 1
            rooms.forget(winner)
        winner.offers_today += 1
        winner.last_offer_at = now
    return decisions


class _Side:
    """The agents who may serve some groups: who is here, why the others are not, and what none of them can take."""

    def __init__(self, teams: Iterable[Sequence[Candidate]]) -> None:
        everybody = {candidate.agent: candidate for team in teams for candidate in team}
        self.everybody = everybody
        self.here = [c for c in everybody.values() if c.is_here]
        self.away = {c.agent: _absence(c) for c in everybody.values() if not c.is_here}
        self.hopeless: set[tuple[object, ...]] = set()
        """Kinds of tickets that nobody here can take: room only shrinks while we decide."""


class _Rooms:
    """Who has room for what, asked again only of those to whom something was given: nobody else's hands change."""

    def __init__(self) -> None:
        self._known: dict[Channel, dict[int, bool]] = {channel: {} for channel in Channel}

    def of(self, channel: Channel) -> dict[int, bool]:
        """What is known, by the candidate's identity: two accounts may have agents of one id."""
        return self._known[channel]

    def forget(self, candidate: Candidate) -> None:
        """Their hands have changed."""
        for known in self._known.values():
            known.pop(id(candidate), None)


def _sift(ticket: Waiting, side: _Side, rooms: _Rooms, now: datetime) -> tuple[list[Candidate], dict[str, RuledOut]]:
    fit: list[Candidate] = []
    ruled_out: dict[str, RuledOut] = {}
    known = rooms.of(ticket.channel)
    for candidate in side.here:
        has_room = known.get(id(candidate))
        if has_room is None:
            has_room = known[id(candidate)] = candidate.has_room_for(ticket.channel)
        if ticket.takes_capacity and not has_room:
            on_a_call = ticket.channel is not Channel.CALL and candidate.is_on_a_call
            ruled_out[candidate.agent] = RuledOut.ON_A_CALL if on_a_call else RuledOut.AT_CAPACITY
        elif ticket.skills and not candidate.knows(ticket.skills):
            ruled_out[candidate.agent] = RuledOut.LACKS_SKILL
        elif ticket.passed and _passed_lately(ticket, candidate, now):
            ruled_out[candidate.agent] = RuledOut.PASSED
        else:
            fit.append(candidate)
    return fit, ruled_out


def _passed_lately(ticket: Waiting, candidate: Candidate, now: datetime) -> bool:
    passed = ticket.passed.get(candidate.agent)
    return passed is not None and now - passed < timedelta(seconds=PASS_S)


def _choose(
    ticket: Waiting, side: "_Side", fit: Sequence[Candidate], ranks: Mapping[str, Rank], now: datetime
) -> Candidate | None:
    """Whoever it prefers (H-07, H-11), else the strategy's first; None: the ticket waits for the former."""
    if ticket.preferred is not None:
        if ticket.preferred in ranks:
            return side.everybody[ticket.preferred]
        known = side.everybody.get(ticket.preferred)
        is_patient = ticket.preferred_until is not None and now < ticket.preferred_until
        if known is not None and is_patient and _is_only_busy(ticket, known, now):
            return None
    return min(fit, key=lambda candidate: ranks[candidate.agent])


def _is_only_busy(ticket: Waiting, candidate: Candidate, now: datetime) -> bool:
    """Whether the agent is there, and takes the ticket as soon as their hands are free."""
    comes_back = candidate.state in (PresenceState.AVAILABLE, PresenceState.BUSY, PresenceState.AFTER_CALL)
    may_take = candidate.most(ticket.channel) > 0 and candidate.knows(ticket.skills)
    return comes_back and not candidate.is_leaving and may_take and not _passed_lately(ticket, candidate, now)


def _why(
    ticket: Waiting, ranks: Mapping[str, Rank], ruled_out: Mapping[str, RuledOut], winner: Candidate
) -> dict[str, object]:
    why: dict[str, object] = {
        "strategy": ticket.strategy,
        "candidates": {agent: _shown(rank) for agent, rank in ranks.items()},
        "ruled_out": ruled_out,
        "chosen": winner.agent,
    }
    if winner.agent == ticket.preferred:
        why["preferred"] = "served_the_contact_last_or_invited_them"
    if ticket.skills:
        why["skills"] = dict(ticket.skills)
    return why


def _shown(rank: Rank) -> object:
    """What the strategy went by, without the agent's own id at its end."""
    return rank[0] if len(rank) == 3 else list(rank[:-1])


def _absence(candidate: Candidate) -> RuledOut:
    if candidate.state is None:
        return RuledOut.SIGNED_OUT
    if candidate.state is not PresenceState.AVAILABLE:
        return RuledOut.NOT_AVAILABLE
    if candidate.is_leaving:
        return RuledOut.LEAVING
    return RuledOut.ON_A_CALL if candidate.is_on_a_call else RuledOut.ELSEWHERE


def candidate_of(seat: Seat, agent: Agent, held: dict[Channel, int], today: date) -> Candidate:
    """An agent as the rules see them, on the account's day."""
    return Candidate(
        seat.agent,
        seat.state,
        agent.capacity,
        held,
        offers_on(today, seat.offers_day, seat.offers_today),
        seat.last_offer_at,
        agent.load,
        agent.skills,
        seat.freed_at,
        seat.next_state is not None,
    )


def not_looked_at(agent: Agent, state: str | None, is_leaving: bool, is_on_a_call: bool) -> Candidate:
    """An agent to whom nothing is given now: away, leaving, or on a call."""
    return Candidate(
        agent.id,
        None if state is None else _STATES[state],
        agent.capacity,
        {Channel.CALL: 1} if is_on_a_call else {},
        0,
        _NEVER,
        skills=agent.skills,
        is_leaving=is_leaving,
        is_looked_at=False,
    )


_STATES = {state.value: state for state in PresenceState}
_NEVER = datetime.fromtimestamp(0, UTC)


def offers_on(day: date, counted_on: date | None, count: int) -> int:
    """Today's count from the stored one: it starts anew each day."""
    return count if counted_on == day else 0
