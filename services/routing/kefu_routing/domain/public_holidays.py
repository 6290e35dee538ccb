"""Public holidays and make-up working days that a calendar begins with, and when it lacks them (D-01, B-15)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from kefu_common.events.directory import Calendar, MakeUpDay, NamedDay

FESTIVALS: Final = ("元旦", "春节", "清明节", "劳动节", "端午节", "中秋节", "国庆节")
"""The names by which a plan's greetings are chosen."""
REST: Final = "休息日"
"""A day off of which nobody can tell to which festival it belongs."""
_EVE: Final = "农历除夕"
_SWAPPED: Final = re.compile(r"(\d{4}-\d{2}-\d{2})")
_A_DAY: Final = timedelta(days=1)
_ALARM_FROM_MONTH: Final = 11


@dataclass(frozen=True, slots=True)
class PublicDays:
    """What is public of some years: the days off, and the working days that make up for some of them."""

    holidays: list[NamedDay]
    make_up_days: list[MakeUpDay]


def chinese(named: Mapping[date, str], workdays: Iterable[date], years: Iterable[int]) -> PublicDays:
    """China's days of these years by plain names, of what the library calls them.

    Weekends that touch a festival are part of it, as in the State Council's notices; so are days that were swapped for
    a working day, whose weekday the make-up day then has. The neighbouring years must be given too.
    """
    made_up = set(workdays)
    wanted = set(years)
    festivals = {day: festival for day, name in named.items() if (festival := _festival(name)) is not None}
    found: dict[date, str] = {}
    for day in sorted(named):
        if day not in found:
            found |= _run_around(day, named, made_up, festivals)
    swapped = {date.fromisoformat(m[1]): day for day, name in named.items() if (m := _SWAPPED.search(name))}
    make_up_days = []
    for day in sorted(made_up):
        rest = swapped.get(day)
        festival, as_day = (found[rest], rest.isoweekday()) if rest else ("", 1)
        make_up_days.append(MakeUpDay(date=day, name=f"{festival}调休上班", as_day=as_day))
    return PublicDays(
        [NamedDay(date=day, name=name) for day, name in sorted(found.items()) if day.year in wanted],
        [day for day in make_up_days if day.date.year in wanted],
    )


def _festival(name: str) -> str | None:
    """Two that fall on one day: the one that the library names first."""
    if name.startswith(_EVE):
        return "春节"
    return next((f for f in FESTIVALS if name.startswith(f)), None)


def _run_around(
    day: date, named: Mapping[date, str], made_up: set[date], festivals: Mapping[date, str]
) -> dict[date, str]:
    """The days off in a row around one of them, each with its festival's name: its own, or else the nearest one's."""

    def is_off(other: date) -> bool:
        return other in named or (other.isoweekday() >= 6 and other not in made_up)

    first = last = day
    while is_off(first - _A_DAY):
        first -= _A_DAY
    while is_off(last + _A_DAY):
        last += _A_DAY
    run = [first + n * _A_DAY for n in range((last - first).days + 1)]
    with_name = [other for other in run if other in festivals]

    def name_of(other: date) -> str:
        if not with_name:
            return REST if _SWAPPED.search(named.get(other, "")) else named.get(other, REST)
        return festivals[min(with_name, key=lambda near: abs((near - other).days))]

    return {other: name_of(other) for other in run}


def add_missing(calendar: Calendar, public: PublicDays) -> tuple[Calendar, PublicDays]:
    """The calendar with the days that it has nothing about yet, and those days. What people edited stays."""
    holidays = {d.date for d in calendar.holidays}
    make_up_days = {d.date for d in calendar.make_up_days}
    added = PublicDays(
        [d for d in public.holidays if d.date not in holidays],
        [d for d in public.make_up_days if d.date not in make_up_days],
    )
    changes = {
        "holidays": sorted([*calendar.holidays, *added.holidays], key=lambda d: d.date),
        "make_up_days": sorted([*calendar.make_up_days, *added.make_up_days], key=lambda d: d.date),
    }
    return calendar.model_copy(update=changes), added


def alarm(calendar: Calendar, today: date) -> str | None:
    """What to do about a calendar that lacks its country's days, from 1 November those of the next year."""
    if calendar.country is None:
        return None
    year = today.year + (today.month >= _ALARM_FROM_MONTH)
    add = f"POST /v1/calendars/{calendar.id}/holidays with"
    if not any(d.date.year == year for d in calendar.holidays):
        return (
            f"the public holidays of {calendar.country} for {year} are missing: add those that are known by {add}"
            f' {{"country": "{calendar.country}", "years": [{year}]}}, or enter them by PUT'
        )
    if calendar.country == "CN" and not any(d.date.year == year for d in calendar.make_up_days):
        return (
            f"the make-up working days for {year} are missing: when the State Council has announced them, enter them"
            f' as make_up_days by PUT, or update Kefu and add them by {add} {{"years": [{year}]}}'
        )
    return None
