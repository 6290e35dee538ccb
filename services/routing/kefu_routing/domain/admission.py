"""Whether a new interaction is taken, and which group gets it (D-01, D-07, D-08, H-05)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kefu_common.events.directory import Group, Plan
from kefu_common.events.words import Channel, TicketKind
from kefu_routing.domain import hours
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory, Ticket

Refusal = Literal["closed", "source", "tier", "no_plan"]


@dataclass(frozen=True, slots=True)
class Admission:
    """Refused for a reason, or to be queued in `group`."""

    refused: Refusal | None
    group: str | None


def serves(ticked: Sequence[str], word: str | None) -> bool:
    """Whether a group's ticks cover the word; `*` covers every word and the lack of one."""
    return "*" in ticked or (word is not None and word in ticked)


def admit(
    directory: AccountDirectory,
    site: str,
    channel: Channel,
    source: str | None,
    category: str | None,
    tier: str | None,
    now: datetime,
) -> Admission:
    """Decide for one new interaction.

    A closed site refuses calls and chats; an e-mail or message waits for the next open minute.
    """
    refused, group = _group_for(directory, site, source, category, tier)
    if refused is None and channel in LIVE_CHANNELS and opens_at(directory, site, now) > now:
        refused = "closed"
    return Admission(refused, None if refused else group)


def may_serve(directory: AccountDirectory, group: str, ticket: Ticket) -> bool:
    """Whether the group takes tickets of this site, source and tier: by the site's plan, or its overflow."""
    plan = directory.plans.get(ticket.site)
    return plan is not None and reaches(plan, group) and is_ticked(directory, group, ticket)


def reaches(plan: Plan, group: str) -> bool:
    """Whether the plan sends the group anything, if only what overflows to it."""
    return group in plan.groups or any(group in step.widen_to for step in plan.overflow)


def is_ticked(directory: AccountDirectory, group: str, ticket: Ticket) -> bool:
    """Whether the group ticks the ticket's source and tier."""
    known = directory.groups.get(group)
    return known is not None and serves(known.sources, ticket.source) and serves(known.tiers, ticket.tier)


def group_for(directory: AccountDirectory, ticket: Ticket) -> str | None:
    """The group that a ticket goes to as the directory stands now; None when none serves it."""
    return _group_for(directory, ticket.site, ticket.source, ticket.category, ticket.tier)[1]


def opens_at(directory: AccountDirectory, site: str, now: datetime) -> datetime:
    """When the site is open next, from `now` on; later than `now` means that it is closed."""
    place = directory.sites.get(site)
    if place is None:
        return now
    calendar = directory.calendars.get(place.calendar) if place.calendar else None
    return hours.next_open(calendar, place.time_zone, now)


def _group_for(
    directory: AccountDirectory, site: str, source: str | None, category: str | None, tier: str | None
) -> tuple[Refusal | None, str | None]:
    plan = directory.plans.get(site)
    groups = [directory.groups[g] for g in plan.groups if g in directory.groups] if plan else []
    if not groups:
        return "no_plan", None
    named = [g for g in groups if category is not None and category in g.categories]
    # What names no category, or one that no group has, goes to the plan's groups in their order.
    for wanted in (named, groups) if named else (groups,):
        by_source = [g for g in wanted if serves(g.sources, source)]
        if not by_source and wanted is named:
            return "source", None
        for group in by_source:
            if serves(group.tiers, tier):
                return None, group.id
    return ("tier" if _any_serves(groups, source) else "source"), None


def _any_serves(groups: Sequence[Group], source: str | None) -> bool:
    return any(serves(g.sources, source) for g in groups)


def priority_of(directory: AccountDirectory, site: str, tier: str | None) -> int:
    """What a new ticket begins with, by its contact's tier."""
    plan = directory.plans.get(site)
    return plan.priorities.tiers.get(tier or "", 0) if plan is not None else 0


def kind_of(directory: AccountDirectory, category: str | None) -> TicketKind:
    """What the contact wants, as far as the category tells."""
    known = directory.categories.get(category or "")
    return known.kind if known is not None else TicketKind.CONSULTATION
