"""When a visitor who looks at a page is invited to chat (H-11). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from kefu_common.events.directory import InvitationRule
from kefu_routing.domain.hours import NEVER

OPEN_FOR: Final = timedelta(minutes=10)
"""How long an invitation is open: so long it may be shown, and there is no other one."""
_TOO_LATE_S = 600
"""Whoever was to be invited so long ago is not there any more; we were."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A visitor without a chat, and what they look at since when; at `due_at` a rule may apply."""

    account: str
    interaction: str
    site: str
    adapter: str | None
    traceparent: str | None
    contact: UUID | None
    page: str | None
    seen_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation, by a rule or by an agent."""

    id: UUID
    to: Watched
    text: str
    rule: str | None
    agent: str | None
    expires_at: datetime


def fits(pattern: str | None, page: str | None) -> bool:
    """Whether a page is one of those that the pattern means; none means all. `*` stands for any characters."""
    if pattern is None:
        return True
    page = page or ""
    first, *others = pattern.split("*")
    if not others:
        return page == pattern
    if not page.startswith(first):
        return False
    at, last = len(first), others.pop()
    for part in others:
        found = page.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(page) - at >= len(last) and page.endswith(last)


def due_at(rules: Sequence[InvitationRule], page: str | None, seen_at: datetime, after: datetime | None) -> datetime:
    """When the next rule may apply to who looks at the page since `seen_at`; `NEVER` when none will."""
    moments = [seen_at + timedelta(seconds=rule.after_s) for rule in rules if fits(rule.page, page)]
    return min((at for at in moments if after is None or at > after), default=NEVER)


def choose(
    rules: Sequence[InvitationRule], watched: Watched, *, is_returning: bool, is_online: bool, now: datetime
) -> InvitationRule | None:
    """The first rule by which the visitor is invited now. To a site where nobody is there nobody is invited."""
    if not is_online or (now - watched.due_at).total_seconds() > _TOO_LATE_S:
        return None
    on_page_s = (now - watched.seen_at).total_seconds()
    return next(
        (
            rule
            for rule in rules
            if fits(rule.page, watched.page) and rule.after_s <= on_page_s and rule.returning in (None, is_returning)
        ),
        None,
    )
