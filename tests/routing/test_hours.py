"""Open or closed, and who is on duty (D-01)."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import Calendar, MakeUpDay, NamedDay, Shift, Window
from kefu_routing.domain.hours import LONGEST_CLOSURE_DAYS, NEVER, is_open, next_open, shifts_at

SHANGHAI = "Asia/Shanghai"


def a_calendar(*windows: tuple[list[int], str, str], **special: Any) -> Calendar:
    weekly = [a_window(*window) for window in windows]
    return Calendar(id="c", name="c", weekly=weekly, **special)


def a_window(days: list[int], start: str, end: str) -> Window:
    return Window(days=days, start=time.fromisoformat(start), end=time.fromisoformat(end))


def a_day(day: str, name: str = "休息") -> NamedDay:
    return NamedDay(date=date.fromisoformat(day), name=name)


EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]
WORKDAYS = a_calendar(([1, 2, 3, 4, 5], "09:00", "12:00"), ([1, 2, 3, 4, 5], "13:00", "18:00"))


@pytest.mark.parametrize(
    ("local", "opens"),
    [
        ("2026-11-23T08:59:59", "2026-11-23T09:00:00"),
        ("2026-11-23T09:00:00", "2026-11-23T09:00:00"),
        ("2026-11-23T12:00:00", "2026-11-23T13:00:00"),
        ("2026-11-23T18:00:00", "2026-11-24T09:00:00"),
        ("2026-11-27T20:00:00", "2026-11-30T09:00:00"),
    ],
)
def test_the_next_open_moment_in_the_sites_time_zone(local: str, opens: str) -> None:
    at = datetime.fromisoformat(f"{local}+08:00")
    assert next_open(WORKDAYS, SHANGHAI, at) == datetime.fromisoformat(f"{opens}+08:00")


def test_a_window_until_midnight_meets_the_one_that_begins_there() -> None:
    always = a_calendar(([1, 2, 3, 4, 5, 6, 7], "00:00", "00:00"))
    midnight = datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert is_open(always, SHANGHAI, midnight)
    assert is_open(always, SHANGHAI, midnight - timedelta(microseconds=1))


def test_without_windows_it_never_opens_and_without_a_calendar_it_always_is() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert next_open(a_calendar(), SHANGHAI, at) == NEVER
    assert next_open(None, SHANGHAI, at) == at


def test_the_hour_that_daylight_saving_skips_opens_no_later_than_the_clock_says() -> None:
    early = a_calendar(([7], "03:00", "04:00"))
    before = datetime.fromisoformat("2026-03-08T01:30:00-05:00")
    assert next_open(early, "America/New_York", before) == datetime.fromisoformat("2026-03-08T03:00:00-04:00")


@given(st.integers(0, 366 * 86_400))
def test_the_next_open_moment_is_open_and_not_before_the_asking(second: int) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    opens = next_open(WORKDAYS, SHANGHAI, at)
    assert opens >= at
    assert is_open(WORKDAYS, SHANGHAI, opens)
    assert opens - at <= timedelta(days=3)


@pytest.mark.parametrize(
    ("local", "opens"),
    [
        ("2026-11-23T10:20:00", "2026-11-23T10:30:00"),
        ("2026-11-23T11:45:00", "2026-11-23T13:00:00"),
        ("2026-11-23T17:45:00", "2026-11-24T09:00:00"),
    ],
)
def test_breaks_are_cut_out_of_the_hours(local: str, opens: str) -> None:
    # D-01
    breaks = [a_window([1], "10:15", "10:30"), a_window([1], "11:30", "13:00"), a_window([1], "17:30", "20:00")]
    calendar = a_calendar((EVERY_DAY, "09:00", "18:00"), breaks=breaks)
    at = datetime.fromisoformat(f"{local}+08:00")
    assert next_open(calendar, SHANGHAI, at) == datetime.fromisoformat(f"{opens}+08:00")


def test_a_holiday_is_closed_a_make_up_day_open_with_another_days_hours_and_a_closed_date_closed_whatever_it_is() -> (
    None
):
    # D-01
    calendar = a_calendar(
        ([1, 2, 3, 4], "09:00", "18:00"),
        ([5], "09:00", "16:00"),
        holidays=[a_day("2026-10-07", "国庆节"), a_day("2026-10-08", "国庆节")],
        make_up_days=[MakeUpDay(date=d, name="上班", as_day=5) for d in (date(2026, 10, 8), date(2026, 10, 10))],
        closed=[a_day("2026-10-10"), a_day("2026-10-13")],
    )

    def open_hours(day: str) -> list[int]:
        return [
            h for h in range(24) if is_open(calendar, SHANGHAI, datetime.fromisoformat(f"{day}T{h:02}:00:00+08:00"))
        ]

    assert open_hours("2026-10-06") == list(range(9, 18))
    assert open_hours("2026-10-07") == []
    assert open_hours("2026-10-08") == list(range(9, 16)), "a holiday on which one works, with Friday's hours"
    assert open_hours("2026-10-10") == [], "closed though a make-up day"
    assert open_hours("2026-10-13") == []


def test_the_opening_after_a_long_closure_is_found_and_after_one_that_is_longer_it_never_opens() -> None:
    # D-01
    first = date(2026, 1, 1)

    def closed_for(days: int) -> Calendar:
        closed = [NamedDay(date=first + timedelta(days=n), name="装修") for n in range(days)]
        return a_calendar((EVERY_DAY, "09:00", "18:00"), closed=closed)

    at = datetime.fromisoformat("2026-01-01T12:00:00+08:00")
    opens = datetime.fromisoformat("2027-01-31T09:00:00+08:00")
    assert next_open(closed_for(395), SHANGHAI, at) == opens
    assert next_open(closed_for(LONGEST_CLOSURE_DAYS + 1), SHANGHAI, at) == NEVER


def test_an_hour_that_the_clock_shows_twice_is_open_twice_and_one_that_it_skips_never() -> None:
    # D-01
    new_york = "America/New_York"
    twice = a_calendar(([7], "01:00", "01:30"))
    opens = [datetime.fromisoformat(f"2026-11-01T01:00:00{zone}") for zone in ("-04:00", "-05:00")]
    assert next_open(twice, new_york, opens[0]) == opens[0]
    assert next_open(twice, new_york, opens[0] + timedelta(minutes=30)) == opens[1]
    assert is_open(twice, new_york, opens[1] + timedelta(minutes=29))
    skipped = a_calendar(([7], "02:00", "03:00"))
    before = datetime.fromisoformat("2026-03-08T01:30:00-05:00")
    assert next_open(skipped, new_york, before) == datetime.fromisoformat("2026-03-15T02:00:00-04:00")


@pytest.mark.parametrize(
    ("local", "on"),
    [
        ("2026-11-23T07:59:59", []),
        ("2026-11-23T08:00:00", ["早班"]),
        ("2026-11-23T15:30:00", ["早班", "中班"]),
        ("2026-11-23T23:30:00", ["中班", "夜班"]),
        ("2026-11-24T00:00:00", ["夜班"]),
        ("2026-11-24T06:59:59", ["夜班"]),
        ("2026-11-24T07:00:00", []),
        ("2026-11-23T03:00:00", []),
    ],
)
def test_a_shift_over_midnight_belongs_to_the_day_on_which_it_starts(local: str, on: list[str]) -> None:
    # D-01, T-05
    def shift(name: str, start: str, end: str, days: list[int]) -> Shift:
        return Shift(name=name, start=time.fromisoformat(start), end=time.fromisoformat(end), days=days)

    shifts = [
        shift("早班", "08:00", "16:00", [1, 2]),
        shift("中班", "15:00", "00:00", [1]),
        shift("夜班", "23:00", "07:00", [1]),
    ]
    at = datetime.fromisoformat(f"{local}+08:00")
    assert [s.name for s in shifts_at(a_calendar(shifts=shifts), SHANGHAI, at)] == on


def wall_says_open(calendar: Calendar, time_zone: str, at: datetime) -> bool:
    """The naive model: look at the clock on the wall."""
    wall = at.astimezone(ZoneInfo(time_zone))

    def within(windows: list[Window], weekday: int) -> bool:
        return any(
            weekday in w.days and w.start <= wall.time() and (w.end == time(0) or wall.time() < w.end) for w in windows
        )

    if wall.date() in {d.date for d in calendar.closed}:
        return False
    weekday = {d.date: d.as_day for d in calendar.make_up_days}.get(wall.date())
    if weekday is None:
        if wall.date() in {d.date for d in calendar.holidays} and not calendar.open_on_holidays:
            return False
        weekday = wall.isoweekday()
    return within(calendar.weekly, weekday) and not within(calendar.breaks, weekday)


ZONES = ("Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns", "Pacific/Apia")
DAYS_AROUND = {
    "Asia/Shanghai": "2026-10-01",
    "America/New_York": "2026-11-01",
    "Australia/Lord_Howe": "2026-10-04",
    "Africa/Cairo": "2026-04-24",
    "America/St_Johns": "2008-11-02",
    "Pacific/Apia": "2011-12-30",
}
"""A day on which each zone's clocks are put forward or back, or which it skipped."""
quarters = st.integers(0, 95).map(lambda n: time(n // 4, n % 4 * 15))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, end = sorted(draw(st.lists(quarters, min_size=2, max_size=2, unique=True)))
    days = draw(st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True))
    return Window(days=days, start=start, end=draw(st.sampled_from([end, time(0)])))


@st.composite
def calendars(draw: st.DrawFn, around: date) -> Calendar:
    day = st.integers(-3, 4).map(lambda n: around + timedelta(days=n))
    named = st.lists(day.map(lambda d: NamedDay(date=d, name="休")), max_size=3)
    made_up = st.lists(st.builds(MakeUpDay, date=day, name=st.just("班"), as_day=st.integers(1, 7)), max_size=2)
    return Calendar(
        id="c",
        name="c",
        weekly=draw(st.lists(windows(), max_size=4)),
        breaks=draw(st.lists(windows(), max_size=2)),
        holidays=draw(named),
        open_on_holidays=draw(st.booleans()),
        make_up_days=draw(made_up),
        closed=draw(named),
    )


@given(st.data(), st.sampled_from(ZONES), st.integers(-2 * 24 * 60, 2 * 24 * 60))
def test_it_is_open_when_the_clock_on_the_wall_says_so(data: st.DataObject, zone: str, minute: int) -> None:
    # D-01
    around = date.fromisoformat(DAYS_AROUND[zone])
    calendar = data.draw(calendars(around))
    at = datetime.combine(around, time(12), UTC) + timedelta(minutes=minute)
    opens = next_open(calendar, zone, at)
    last = min(opens, at + timedelta(days=3))
    minutes = (at + timedelta(minutes=n) for n in range(int((last - at).total_seconds()) // 60))
    assert not any(wall_says_open(calendar, zone, m) for m in minutes), "nothing open is passed over"
    assert opens == NEVER or wall_says_open(calendar, zone, opens)
