"""The engine as a whole, driven at random and checked against rules written out naively beside it.

Each test says which line of the product it guards: without it the test fails.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kefu_common.events.directory import (
    Agent,
    Calendar,
    Capacity,
    Category,
    NamedDay,
    Overflow,
    Plan,
    Preference,
    Strategy,
    Window,
)
from kefu_common.events.words import Channel, PresenceState, TicketStatus
from kefu_routing.domain import offers, presence, turns
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.assignment import assign, candidate_of
from kefu_routing.domain.dispatch import Round
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import Offer, OfferStatus, Seat, Ticket
from kefu_routing.domain.refusals import CommandRefused, NotApplicable
from kefu_routing.domain.strategies import Candidate
from tests.routing.builders import (
    NOON,
    SALES,
    a_candidate,
    a_directory,
    a_group,
    a_waiting,
    an_event,
    nothing_known,
    some_work,
)

AGENTS = {
    "a01": Agent(id="a01", name="一", capacity=Capacity(call=1, chat=2, email=1)),
    "a02": Agent(id="a02", name="二", capacity=Capacity(call=1, chat=1, email=2), skills={"英语": 5}),
    "a03": Agent(id="a03", name="三", capacity=Capacity(call=0, chat=3, email=1), skills={"英语": 2}),
    "a04": Agent(id="a04", name="四", capacity=Capacity(call=1, chat=2, email=0), skills={"英语": 9}),
}
MEMBERS = {"sales": ["a01", "a02", "a03"], "support": ["a03", "a04"]}
NEEDED = 3
"""What one must know of English for the category `english`."""
STEPS = [Overflow(after_s=40, relax_skills=True), Overflow(after_s=80, raise_priority=3, widen_to=["support"])]
EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]
HOURS = {
    "always": Calendar(id="hours", name="全天", weekly=[Window(days=EVERY_DAY, start=time(0), end=time(0))]),
    "even minutes": Calendar(
        id="hours",
        name="双数分钟",
        weekly=[Window(days=EVERY_DAY, start=time(12, m), end=time(12, m + 1)) for m in range(0, 58, 2)],
    ),
    "not today": Calendar(
        id="hours",
        name="今天休息",
        weekly=[Window(days=EVERY_DAY, start=time(0), end=time(0))],
        closed=[NamedDay(date=date(2026, 11, 23), name="盘点")],
    ),
}
"""What a supervisor sets while tickets wait. By the clock on the wall a site closes and opens in the middle, too."""
EVERY_STRATEGY: list[Strategy] = ["round_robin", "least_loaded", "longest_idle", "skill_first"]


def a_plan(strategy: Strategy, prefers: bool) -> Plan:
    preference = Preference(wait_s=20) if prefers else None
    return Plan(
        id="shop",
        site="shop",
        groups=list(MEMBERS),
        strategy=strategy,
        overflow=STEPS,
        prefer_last_agent=preference,
        offer_s=dict.fromkeys(Channel, 15),
    )


class Engine(RuleBasedStateMachine):
    """A small account, as routing would run it, with everything in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.count = 0
        self.offers_of_the_day: Counter[str] = Counter()
        self.sources = {"sales": {"*"}, "support": {"web"}}
        self.tiers = {"sales": {"*"}, "support": {"gold", "silver"}}

    @initialize(strategy=st.sampled_from(EVERY_STRATEGY), prefers=st.booleans())
    def open(self, strategy: Strategy, prefers: bool) -> None:
        sales = a_group("sales", *MEMBERS["sales"], categories=["english"])
        support = a_group("support", *MEMBERS["support"], sources=["web"], tiers=["gold", "silver"])
        directory = a_directory(sales, support, calendar=HOURS["always"])
        directory.agents.update(AGENTS)
        directory.plans["shop"] = a_plan(strategy, prefers)
        directory.categories["english"] = Category(id="english", name="英语", skills={"英语": NEEDED})
        self.directory, self.strategy, self.hours = directory, strategy, "always"
        self.work, self.known = some_work(directory), nothing_known()
        self.seats = {a: Seat("acme", a, freed_at=NOON - timedelta(seconds=n)) for n, a in enumerate(AGENTS)}

    # What happens

    @rule(
        type=st.sampled_from(["call.started", "chat.started", "email.received", "message.left"]),
        source=st.sampled_from([None, "web", "app"]),
        tier=st.sampled_from([None, "gold", "silver", "none"]),
        category=st.sampled_from([None, "english", "support"]),
        contact=st.integers(1, 3),
    )
    def arrive(self, type: str, source: str | None, tier: str | None, category: str | None, contact: int) -> None:
        self.count += 1
        text = {"text": "在吗"} if type in ("email.received", "message.left") else {}
        claim = {"external_id": f"crm-{contact}", "tier": tier, "email": f"{self.count}@example.com"}
        event = an_event(type, f"i{self.count}", at=self.now, source=source, category=category, contact=claim, **text)
        self.known.last_agents = {t.contact: t.handler or t.owner for t in self.tickets.values() if t.owner}
        decide(self.work, self.known, event, 0, self.now)
        if type in ("call.started", "chat.started"):
            (came,) = (t for t in self.tickets.values() if t.interaction == f"i{self.count}")
            assert self.is_open() or came.status is TicketStatus.REFUSED, "who comes after hours is on the line"
            assert came.reason != "closed" or not self.is_open(), "who comes in time is refused"
        self.run()

    @rule(hours=st.sampled_from(sorted(HOURS)))
    def set_hours(self, hours: str) -> None:
        self.hours = hours
        self.directory.calendars["hours"] = HOURS[hours]
        for ticket in self.tickets.values():
            # As `queues.look_again` does.
            ticket.ready_at = min(ticket.ready_at, self.now)
        self.run()

    @rule(group=st.sampled_from(sorted(MEMBERS)), source=st.sampled_from(["*", "web", "app"]))
    def tick(self, group: str, source: str) -> None:
        self.sources[group] = {source}
        changed = self.directory.groups[group].model_copy(update={"sources": [source]})
        self.directory.groups[group] = changed
        self.run()

    @rule(agent=st.sampled_from(sorted(AGENTS)), state=st.sampled_from([None, *PresenceState]), next=st.booleans())
    def change_presence(self, agent: str, state: PresenceState | None, next: bool) -> None:
        seat = self.seats[agent]
        if state is None or seat.state is None:
            seat.state, seat.next_state = (None, None) if state is None else (PresenceState.AVAILABLE, None)
        elif next and self.in_hand(agent):
            presence.plan_next(seat, state, None)
        else:
            presence.set_state(seat, state, None, self.now)
        if seat.state is not PresenceState.AVAILABLE or seat.next_state:
            for made in self.open_offers(agent):
                offers.give_back(self.work, self.tickets[made.ticket], made, OfferStatus.WITHDRAWN, self.now)
        self.run()

    @precondition(lambda self: self.open_offers())
    @rule(data=st.data(), how=st.sampled_from(["accept", "decline", "foreign", "hang_up"]))
    def answer(self, data: st.DataObject, how: str) -> None:
        made = data.draw(st.sampled_from(self.open_offers()))
        ticket = self.tickets[made.ticket]
        match how:
            case "accept":
                offers.accept(self.work, ticket, made, made.agent, self.now)
            case "decline":
                offers.decline(self.work, ticket, made, made.agent, None, self.now)
            case "foreign":
                other = next(a for a in AGENTS if a != made.agent)
                with pytest.raises(CommandRefused):
                    offers.accept(self.work, ticket, made, other, self.now)
            case _:
                rules.contact_left(self.work, ticket, made, "left", self.now)
        self.run()

    @precondition(lambda self: self.active())
    @rule(data=st.data(), how=st.sampled_from(["resolve", "leave", "group", "agent", "answered"]))
    def go_on(self, data: st.DataObject, how: str) -> None:
        ticket = data.draw(st.sampled_from(self.active()))
        handler, was = ticket.handler or "", ticket.handler
        other = data.draw(st.sampled_from(sorted(AGENTS)))
        try:
            match how:
                case "resolve":
                    rules.resolve(self.work, ticket, handler, "", None, self.now)
                case "leave":
                    rules.contact_left(self.work, ticket, None, "left", self.now)
                case "group":
                    group = data.draw(st.sampled_from(sorted(MEMBERS)))
                    rules.transfer_to_group(self.work, ticket, handler, group, "", self.now)
                    assert self.serves(group, ticket), f"{group} does not serve {ticket}"
                case "agent" if self.has_room(other, ticket) and self.is_here(other):
                    rules.transfer_to_agent(self.work, ticket, handler, other, "", self.now)
                case "answered" if ticket.channel is Channel.CALL:
                    event = an_event("call.answered", ticket.interaction, at=self.now, agent=other)
                    self.known.offers = self.work.offers
                    decide(self.work, self.known, event, 0, self.now)
        except (CommandRefused, NotApplicable):
            assert ticket.handler == was, "what was refused changed something"
        self.run()

    @rule(seconds=st.sampled_from([1, 5, 16, 35]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for ticket in list(self.tickets.values()):
            turns.take_step(self.work, ticket, self.now)
        for made in self.open_offers():
            if made.expires_at <= self.now:
                offers.give_back(self.work, self.tickets[made.ticket], made, OfferStatus.LAPSED, self.now)
                presence.miss(self.seats[made.agent])
        self.run()

    # How routing runs it

    def run(self) -> None:
        for (_, agent), freed in self.work.freed.items():
            presence.ticket_ended(self.seats[agent], freed, self.in_hand(agent))
        self.work.freed.clear()
        candidates = {a: candidate_of(seat, AGENTS[a], self.held(a), self.now.date()) for a, seat in self.seats.items()}
        teams = {("acme", group): [candidates[a] for a in members] for group, members in MEMBERS.items()}
        before = {a: dict(c.held) for a, c in candidates.items()}
        this = Round(self.work, teams, self.now)
        self.work.groups_to_assign = {("acme", group) for group in MEMBERS}
        while self.work.groups_to_assign:
            # What moves to another group wakes that one.
            self.work.groups_to_assign.clear()
            # As `queues.lock_waiting` does.
            queued = [t for t in self.tickets.values() if t.status is TicketStatus.QUEUED]
            this.decide([t for t in queued if t.ready_at <= self.now])
        self.check(this, before)
        for agent, candidate in candidates.items():
            seat = self.seats[agent]
            seat.offers_day, seat.offers_today = self.now.date(), candidate.offers_today
            seat.last_offer_at = candidate.last_offer_at

    def check(self, this: Round, before: Mapping[str, Mapping[Channel, int]]) -> None:
        """Each decision as it was made, against the rules as a supervisor would say them."""
        held = {agent: Counter(counts) for agent, counts in before.items()}
        today = self.offers_of_the_day
        for decision in this.decisions:
            assert isinstance(decision.ticket, UUID)
            ticket = self.tickets[decision.ticket]
            eligible = [a for a in AGENTS if self.may_take(a, ticket, held[a])]
            assert decision.agent in eligible, f"{decision.agent} may not take {ticket}"
            if decision.agent != ticket.preferred:
                best = min(self.rank(a, ticket, held[a], today[a]) for a in eligible)
                assert self.rank(decision.agent, ticket, held[decision.agent], today[decision.agent]) <= best
            if ticket.takes_capacity:
                held[decision.agent][ticket.channel] += 1
            today[decision.agent] += 1
        decided = {d.ticket for d in this.decisions}
        for ticket in self.tickets.values():
            if ticket.status is TicketStatus.QUEUED and ticket.id not in decided:
                free = [a for a in AGENTS if self.may_take(a, ticket, held[a])]
                assert not free or self.waits_for_the_last_agent(ticket), f"{ticket} waits though {free} are free"

    # The rules, written out once more

    def may_take(self, agent: str, ticket: Ticket, held: Mapping[Channel, int]) -> bool:
        groups = [ticket.group, *ticket.wider]
        serving = [g for g in groups if g is not None and self.serves(g, ticket) and agent in MEMBERS[g]]
        passed = ticket.passed.get(agent)
        return (
            bool(serving)
            and (self.is_open() or ticket.channel in (Channel.CALL, Channel.CHAT))
            and self.is_here(agent)
            and self.knows_enough(agent, ticket)
            and (not ticket.takes_capacity or room(AGENTS[agent].capacity, held, ticket.channel))
            and (passed is None or (self.now - datetime.fromisoformat(passed)).total_seconds() >= 30)
        )

    def serves(self, group: str, ticket: Ticket) -> bool:
        sources, tiers = self.sources[group], self.tiers[group]
        return bool(sources & {"*", ticket.source}) and bool(tiers & {"*", ticket.tier})

    def knows_enough(self, agent: str, ticket: Ticket) -> bool:
        return ticket.category != "english" or ticket.step >= 1 or AGENTS[agent].skills.get("英语", 0) >= NEEDED

    def is_open(self) -> bool:
        minute = self.now.minute  # which is the same in Shanghai
        return self.hours == "always" or (self.hours == "even minutes" and minute % 2 == 0)

    def waits_for_the_last_agent(self, ticket: Ticket) -> bool:
        last = ticket.preferred
        if last is None or ticket.preferred_until is None or self.now >= ticket.preferred_until:
            return False
        return self.seats[last].state in (PresenceState.AVAILABLE, PresenceState.BUSY, PresenceState.AFTER_CALL)

    def rank(self, agent: str, ticket: Ticket, held: Mapping[Channel, int], today: int) -> tuple[Any, ...]:
        capacity = AGENTS[agent].capacity
        of_channel, most = {
            Channel.CALL: (held.get(Channel.CALL, 0), capacity.call),
            Channel.CHAT: (held.get(Channel.CHAT, 0), capacity.chat),
        }.get(ticket.channel, (held.get(Channel.EMAIL, 0) + held.get(Channel.MESSAGE, 0), capacity.email))
        idle = (most - of_channel) / most if most else 0.0
        load = (-idle, sum(held.values()))
        match self.strategy:
            case "round_robin":
                return (today,)
            case "least_loaded":
                return load
            case "longest_idle":
                return (sum(held.values()) > 0, self.seats[agent].freed_at)
            case _:
                needs = ticket.category == "english" and ticket.step == 0
                return (-AGENTS[agent].skills.get("英语", 0) if needs else 0, *load)

    def is_here(self, agent: str) -> bool:
        seat = self.seats[agent]
        return seat.state is PresenceState.AVAILABLE and seat.next_state is None

    def has_room(self, agent: str, ticket: Ticket) -> bool:
        return not ticket.takes_capacity or room(AGENTS[agent].capacity, self.held(agent), ticket.channel)

    # What is there

    @property
    def tickets(self) -> dict[UUID, Ticket]:
        return self.known.tickets

    def held(self, agent: str) -> dict[Channel, int]:
        return dict(Counter(t.channel for t in self.tickets.values() if t.holder == agent))

    def in_hand(self, agent: str) -> int:
        return sum(t.holder == agent and t.status is TicketStatus.ACTIVE for t in self.tickets.values())

    def open_offers(self, agent: str | None = None) -> list[Offer]:
        made = self.work.offers.values()
        return [o for o in made if o.status is OfferStatus.OPEN and agent in (None, o.agent)]

    def active(self) -> list[Ticket]:
        return [t for t in self.tickets.values() if t.status is TicketStatus.ACTIVE]

    @invariant()
    def no_agent_is_over_capacity(self) -> None:
        if self.count:
            answered_by_themselves = {t.holder for t in self.active() if t.channel is Channel.CALL}
            for agent, known in AGENTS.items():
                held = self.held(agent)
                assert held.get(Channel.CHAT, 0) <= known.capacity.chat
                assert held.get(Channel.EMAIL, 0) + held.get(Channel.MESSAGE, 0) <= known.capacity.email
                # Who picks up a phone has the call, whatever we think of it.
                assert held.get(Channel.CALL, 0) <= known.capacity.call or agent in answered_by_themselves

    @invariant()
    def a_ticket_is_offered_to_one_agent_or_in_the_hands_of_one(self) -> None:
        if self.count:
            for ticket in self.tickets.values():
                open_ = [o for o in self.open_offers() if o.ticket == ticket.id]
                assert len(open_) == (ticket.status is TicketStatus.OFFERED)
                assert (ticket.handler is not None and not open_) or ticket.status is not TicketStatus.ACTIVE


def room(capacity: Capacity, held: Mapping[Channel, int], channel: Channel) -> bool:
    """Whether one more fits, said plainly: calls are exclusive, e-mails and messages share."""
    calls = held.get(Channel.CALL, 0)
    if channel is Channel.CALL:
        return calls < capacity.call
    if calls:
        return False
    if channel is Channel.CHAT:
        return held.get(Channel.CHAT, 0) < capacity.chat
    return held.get(Channel.EMAIL, 0) + held.get(Channel.MESSAGE, 0) < capacity.email


def _drive(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_every_decision_keeps_the_rules_whatever_happens() -> None:
    """Guards `strategies.Candidate.room_for`, and in `assignment`: `_sift` (each of its branches), `_choose`'s `min`,
    `_is_only_busy`, `_Side.here`; `dispatch.Round._in_place`, and `_open_now` there with each of its conditions;
    `admission.admit`'s refusal of whoever comes after hours; `offers.accept`'s check of the agent."""
    _drive(60, 40)


@pytest.mark.long
def test_every_decision_keeps_the_rules_for_longer() -> None:
    """The same, deeper."""
    _drive(1500, 80)


@given(st.integers(1, 6), st.integers(1, 60), st.integers(0, 2**32))
def test_in_turn_the_counts_of_a_day_differ_by_one_at_most(agents: int, tickets: int, seed: int) -> None:  # H-08
    """Guards `strategies.round_robin`'s first rank and `assignment.assign`'s `winner.offers_today += 1`."""
    team = _team(agents, chat=1000)
    for _ in range(tickets):
        assign([a_waiting()], {SALES: team}, NOON)
        # Whoever has finished early is not offered more than the others for that.
        team[seed % agents].held.clear()
    counts = [c.offers_today for c in team]
    assert max(counts) - min(counts) <= 1


@given(st.integers(1, 6), st.integers(1, 60))
def test_by_load_what_is_in_hand_at_a_time_differs_by_one_at_most(agents: int, tickets: int) -> None:  # H-09
    """Guards `strategies.least_loaded`'s first rank and `assignment.assign`'s counting of what is held."""
    team = _team(agents, chat=100)
    for _ in range(tickets):
        assign([a_waiting(fields={"strategy": "least_loaded"})], {SALES: team}, NOON)
    counts = [c.in_hand for c in team]
    assert max(counts) - min(counts) <= 1


def _team(agents: int, chat: int) -> list[Candidate]:
    return [a_candidate(f"a{n:02}", capacity=Capacity(chat=chat)) for n in range(agents)]
