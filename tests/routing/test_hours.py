"""Open or closed (D-01)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import Calendar, Window
from kefu_routing.domain.hours import NEVER, is_open, next_open

SHANGHAI = "Asia/Shanghai"


def a_calendar(*windows: tuple[list[int], str, str]) -> Calendar:
    return Calendar(id="c", name="c", weekly=[Window(days=d, start=s, end=e) for d, s, e in windows])


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
