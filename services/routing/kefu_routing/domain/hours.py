"""Open or closed, and when next (D-01). Pure: `at` comes from the caller."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from kefu_common.events.directory import Calendar

NEVER = datetime.max.replace(tzinfo=UTC)
"""What a calendar that never opens answers; Postgres keeps it as infinity."""


def is_open(calendar: Calendar | None, time_zone: str, at: datetime) -> bool:
    """Whether `at` lies in one of the weekly windows; without a calendar it is always open."""
    return next_open(calendar, time_zone, at) == at


def next_open(calendar: Calendar | None, time_zone: str, at: datetime) -> datetime:
    """The first open moment not before `at`, or `NEVER`."""
    if calendar is None:
        return at
    for start, end in _windows(calendar, ZoneInfo(time_zone), at):
        if end > at:
            return max(start, at)
    return NEVER


def _windows(calendar: Calendar, zone: ZoneInfo, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Opening windows in UTC from the local day of `at` on, by start. None crosses midnight."""
    first = at.astimezone(zone).date()
    # A week on, the window of the same weekday that has ended today comes again.
    for offset in range(8):
        day = first + timedelta(days=offset)
        windows = [w for w in calendar.weekly if day.isoweekday() in w.days]
        for window in sorted(windows, key=lambda w: w.start):
            last = day + timedelta(days=1) if window.end == time(0) else day
            start = datetime.combine(day, window.start, zone).astimezone(UTC)
            end = datetime.combine(last, window.end, zone).astimezone(UTC)
            yield start, end
