"""Which of the plan's texts a contact is told, in which words, and each once (D-01, D-02, O-05, B-15)."""

import math
import re
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from kefu_common.events.words import Channel
from kefu_routing.domain.model import AccountDirectory, Ticket

Said = Literal["welcome", "festival", "waiting", "closing", "offline", "after_hours"]
"""What a ticket remembers of what was said."""

_CHINESE = frozenset({"CN", "HK", "MO", "TW", "SG"})
REFUSALS = {
    "source": (
        "此渠道未开通咨询服务，请从本站的其他渠道联系我们。",
        "This channel offers no consultation. Please contact us by another channel of this site.",
    ),
    "tier": (
        "您的用户级别未开通此项咨询服务，请从其他渠道联系我们。",
        "This service is not open to your kind of account. Please contact us another way.",
    ),
    "no_plan": (
        "本站尚未开通咨询服务，请从其他渠道联系我们。",
        "This site offers no consultation yet. Please contact us another way.",
    ),
}
"""To whom no group serves, in Chinese and English. Not the offline text: a message left would be refused as well."""
LEAVE_A_MESSAGE = (
    "现在没有空闲的客服。请留言并留下您的联系方式，我们会尽快与您联系。",
    "Nobody is free at the moment. Please leave a message and how to reach you, and we will get back to you.",
)
"""What is said when the longest wait is over and the plan has no offline text: nobody is left with silence (O-05)."""
CALL_AGAIN = (
    "现在没有空闲的客服。请稍后再拨，或在我们的网站上留言。",
    "Nobody is free at the moment. Please call again later, or leave a message on our web site.",
)
"""The same to a caller, who is hung up then."""
POSITION = (
    "您排在第{position}位，预计等待{minutes}分钟，请稍候。",
    "You are number {position} in the queue. The wait will be about {minutes} minutes.",
)
"""What a caller hears of their place when the plan has no waiting text: a visitor sees it (D-02)."""


def is_new(ticket: Ticket, text: Said) -> bool:
    """Whether it was not said yet; from now on it was."""
    if text in ticket.said:
        return False
    ticket.said = [*ticket.said, text]
    return True


def greetings(directory: AccountDirectory, ticket: Ticket, now: datetime) -> list[str]:
    """What a contact hears first: the welcome, and on a festival its greeting (B-15)."""
    plan = directory.plans.get(ticket.site)
    welcome = plan.texts.welcome if plan is not None else None
    said: list[tuple[Said, str | None]] = [
        ("welcome", welcome),
        ("festival", festival_greeting(directory, ticket.site, now)),
    ]
    return [text for which, text in said if text and is_new(ticket, which)]


def festival_greeting(directory: AccountDirectory, site: str, now: datetime) -> str | None:
    """The greeting for today, if the site's calendar names the day so; of two festivals the first with a greeting."""
    place, plan = directory.sites[site], directory.plans.get(site)
    calendar = directory.calendars.get(place.calendar) if place.calendar else None
    if plan is None or calendar is None:
        return None
    today = now.astimezone(ZoneInfo(place.time_zone)).date()
    names = [holiday.name for holiday in calendar.holidays if holiday.date == today]
    return next((plan.texts.festivals[name] for name in names if plan.texts.festivals.get(name)), None)


def waiting(directory: AccountDirectory, ticket: Ticket, position: int, wait_s: float | None) -> str | None:
    """What somebody who has to wait is told; a visitor, who sees the numbers, nothing where the plan has no text."""
    plan = directory.plans.get(ticket.site)
    text = plan.texts.waiting if plan is not None else None
    if not text and ticket.channel is Channel.CALL:
        text = in_the_sites_language(directory, ticket.site, POSITION)
    return filled(text, position, wait_s) if text else None


def filled(text: str, position: int, wait_s: float | None) -> str:
    """The waiting text with its place and minutes; any other braces are left as they are."""
    said = {"{position}": str(position), "{minutes}": _minutes(text, wait_s)}
    return re.sub(r"\{(?:position|minutes)\}", lambda found: said[found[0]], text)


def _minutes(text: str, wait_s: float | None) -> str:
    if wait_s is None:
        return "几" if re.search("[\u4e00-\u9fff]", text) else "a few"
    return str(max(1, math.ceil(wait_s / 60)))


def turning_away(directory: AccountDirectory, ticket: Ticket, reason: str) -> str | None:
    """Why nobody will come and what to do instead.

    None when the plan has no text for a closed site, or it was said before.
    """
    if reason in REFUSALS:
        return in_the_sites_language(directory, ticket.site, REFUSALS[reason])
    which, text = offline_text(directory, ticket.site, is_closed=reason == "closed")
    if not text and reason == "max_wait":
        own = CALL_AGAIN if ticket.channel is Channel.CALL else LEAVE_A_MESSAGE
        text = in_the_sites_language(directory, ticket.site, own)
    return text if text and is_new(ticket, which) else None


def in_the_sites_language(directory: AccountDirectory, site: str, texts: tuple[str, str]) -> str:
    """The Chinese or the English one of a text that Kefu itself has, by the site's region."""
    region = directory.sites[site].region if site in directory.sites else "CN"
    return texts[0] if region in _CHINESE else texts[1]


def offline_text(directory: AccountDirectory, site: str, *, is_closed: bool) -> tuple[Said, str | None]:
    """What is said while nobody comes: of a closed site its own text (D-01), or else the same as always (O-05)."""
    plan = directory.plans.get(site)
    if plan is not None and is_closed and plan.texts.after_hours:
        return "after_hours", plan.texts.after_hours
    return "offline", plan.texts.offline if plan is not None else None
