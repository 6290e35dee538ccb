"""Builders for routing's plain data."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from kefu_common.events.directory import Account, Agent, Calendar, Capacity, Group, Plan, Site, Texts
from kefu_common.events.envelope import Event
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain.assignment import Waiting
from kefu_routing.domain.identity import ContactBook
from kefu_routing.domain.interactions import Known
from kefu_routing.domain.model import AccountDirectory, Ticket
from kefu_routing.domain.strategies import Candidate
from kefu_routing.domain.work import Work

NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
"""Monday noon in Shanghai."""
SALES, AFTER_SALE = ("acme", "sales"), ("acme", "after-sale")
_numbers = count(1)


def an_id() -> UUID:
    return UUID(int=next(_numbers))


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_group(id: str, *agents: str, **fields: Any) -> Group:
    ticks = {"sources": ["*"], "tiers": ["*"], "categories": [id]} | fields
    return Group(id=id, name=id, leader=agents[0], agents=list(agents), **ticks)


def a_directory(
    *groups: Group, calendar: Calendar | None = None, texts: Texts | None = None, **plan: Any
) -> AccountDirectory:
    """One site `shop` whose plan has these groups."""
    site = Site(id="shop", name="网店", calendar=calendar.id if calendar else None)
    agents = {a: Agent(id=a, name=a, phone=f"80{a[1:]}") for g in groups for a in g.agents}
    plans = {}
    if groups:
        plans["shop"] = Plan(id="shop", site="shop", groups=[g.id for g in groups], texts=texts or Texts(), **plan)
    return AccountDirectory(
        Account(id="acme", short_name="小店"),
        1,
        {"shop": site},
        plans,
        {g.id: g for g in groups},
        agents,
        {calendar.id: calendar} if calendar else {},
        {},
        frozenset(s for g in groups for s in g.sources) - {"*"},
        frozenset(c for g in groups for c in g.categories),
    )


def a_candidate(agent: str, **fields: Any) -> Candidate:
    given: dict[str, Any] = {
        "state": PresenceState.AVAILABLE,
        "capacity": Capacity(),
        "held": {},
        "offers_today": 0,
        "last_offer_at": NOON - timedelta(days=1),
    }
    return Candidate(agent, **(given | fields))


def a_waiting(
    channel: Channel = Channel.CHAT, since: float = 0, priority: int = 0, fields: Any = None, **passed: datetime
) -> Waiting:
    """A ticket of the sales group; a point of priority is worth ten minutes of waiting."""
    given: dict[str, Any] = {"group": SALES, "turn_at": later(since - 600 * priority), "strategy": "round_robin"}
    return Waiting(an_id(), channel=channel, passed=passed, **(given | (fields or {})))


def some_work(directory: AccountDirectory | None = None) -> Work:
    return Work({"acme": directory or a_directory(a_group("sales", "a01", "a02"))}, an_id)


def an_event(type: str, interaction: str = "i1", at: datetime = NOON, **data: Any) -> Event[InteractionData]:
    model = INTERACTION_MODELS[f"kefu.{type}"]
    return Event(an_id(), f"kefu.{type}", "/sites/shop", interaction, at, "acme", model(**data), adapter="pbx")


def nothing_known() -> Known:
    return Known(ContactBook({}, {}, an_id))


def types_of(work: Work) -> list[str]:
    return [h.event.type.removeprefix("kefu.ticket.") for h in work.history]


def instructions_of(work: Work) -> list[str]:
    return [i.event.type.removeprefix("kefu.") for i in work.instructions]


def the_ticket(work: Work) -> Ticket:
    (ticket,) = work.tickets.values()
    return ticket
