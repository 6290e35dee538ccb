"""One round of assignment over tickets and agents that are at hand: what is ready, who gets it, and the offers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from kefu_routing.domain import admission, assignment, offers, turns
from kefu_routing.domain.assignment import Decision, GroupKey
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.model import LIVE_CHANNELS, Ticket
from kefu_routing.domain.strategies import Candidate
from kefu_routing.domain.work import Work

Teams = Mapping[GroupKey, Sequence[Candidate]]


@dataclass(slots=True)
class Round:
    """What is decided in one transaction."""

    work: Work
    teams: Teams
    now: datetime
    knows_wider: bool = True
    """Whether the teams are those of all tickets that wait in several groups."""
    tickets: dict[UUID, Ticket] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    _ahead: dict[str, timedelta] = field(default_factory=dict)
    left_out: set[GroupKey] = field(default_factory=set)
    """Groups in which nothing is decided."""

    def leave_out(self, groups: Iterable[GroupKey]) -> set[GroupKey]:
        """Nobody of these groups is given anything: the oldest ticket of them, or the best agent, is missing.

        Nor in groups that share somebody free with them, who would be the best there and be passed over. Returns all.
        """
        out: set[GroupKey] = set()
        self.left_out |= set(groups)
        new = self.left_out & self.teams.keys()
        while new:
            out |= new
            free = {id(candidate) for group in new for candidate in self.teams[group] if candidate.is_here}
            for group in new:
                for candidate in self.teams[group]:
                    candidate.is_looked_at = False
            new = {g for g, team in self.teams.items() if g not in out and any(id(c) in free for c in team)}
        self.left_out |= out
        return set(self.left_out)

    def decide(self, waiting: Sequence[Ticket]) -> None:
        """Offer what may be offered of these."""
        late = [place for ticket in waiting if self._is_late(ticket) for place in _places(ticket)]
        if late:
            self.leave_out(late)
        ready = self._in_place(self._open_now(t for t in waiting if self.left_out.isdisjoint(_places(t))))
        self.tickets |= {t.id: t for t in ready}
        decided = assignment.assign((self._seen(t) for t in ready), self.teams, self.now)
        for decision in decided:
            assert isinstance(decision.ticket, UUID)
            offers.offer(self.work, self.tickets[decision.ticket], decision.agent, self.now, decision.why)
        self.decisions += decided

    def _is_late(self, waits: Ticket) -> bool:
        """Whether others may take it too who are not here: it has overflowed since somebody looked."""
        groups = self.work.directories[waits.account].groups
        is_late = any(group in groups and (waits.account, group) not in self.teams for group in waits.wider)
        return is_late and self.knows_wider

    def _open_now(self, waiting: Iterable[Ticket]) -> list[Ticket]:
        """E-mails and messages wait for the next open minute; who is on the line is served though it has closed."""
        ready: list[Ticket] = []
        opens: dict[tuple[str, str], datetime] = {}
        for waits in waiting:
            if waits.channel not in LIVE_CHANNELS:
                site = waits.account, waits.site
                directory = self.work.directories[waits.account]
                if site not in opens:
                    opens[site] = turns.opens_at(directory, waits.site, self.now)
                if opens[site] > self.now:
                    turns.hold(waits, directory.plans.get(waits.site), self.now, opens[site])
                    self.work.tickets[waits.id] = waits
                    continue
            ready.append(waits)
        return ready

    def _in_place(self, waiting: Iterable[Ticket]) -> list[Ticket]:
        """Those whose source and tier one of their groups still ticks; others go where they would if they came now."""
        ready: list[Ticket] = []
        for waits in waiting:
            if self._groups(waits):
                ready.append(waits)
                continue
            group = admission.group_for(self.work.directories[waits.account], waits)
            if group is not None:
                enqueue(self.work, waits, "transferred", self.now, group)
        return ready

    def _groups(self, waits: Ticket) -> list[GroupKey]:
        """Its own group, and those to which it overflowed, as far as they tick its source and tier."""
        directory = self.work.directories[waits.account]
        return [g for g in _places(waits) if g in self.teams and admission.is_ticked(directory, g[1], waits)]

    def _seen(self, waits: Ticket) -> assignment.Waiting:
        """The ticket as the rules of assignment see it."""
        directory = self.work.directories[waits.account]
        plan = directory.plans.get(waits.site)
        first, *wider = self._groups(waits)
        return assignment.Waiting(
            waits.id,
            first,
            waits.channel,
            waits.turn_at,
            plan.strategy if plan is not None else "round_robin",
            {agent: datetime.fromisoformat(at) for agent, at in waits.passed.items()},
            self._most_ahead(waits.account),
            waits.takes_capacity,
            tuple(wider),
            turns.skills_needed(directory, waits),
            waits.preferred,
            waits.preferred_until,
        )

    def _most_ahead(self, account: str) -> timedelta:
        if account not in self._ahead:
            self._ahead[account] = turns.most_ahead(self.work.directories[account])
        return self._ahead[account]


def _places(waits: Ticket) -> list[GroupKey]:
    return [(waits.account, group) for group in (waits.group, *waits.wider) if group is not None]
