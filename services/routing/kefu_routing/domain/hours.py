"""Open or closed, when next, and which shifts are on (D-01). Pure: `at` comes from the caller.

All of it goes by the clock on the site's wall: open means that it shows a time within the hours of its date. So an hour
that daylight saving skips never comes, and one that it repeats comes twice.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from weakref import ref
from zoneinfo import ZoneInfo

from kefu_common.events.directory import Calendar, Shift, Window

NEVER = datetime.max.replace(tzinfo=UTC)
"""What a calendar that never opens answers; Postgres keeps it as infinity."""
LONGEST_CLOSURE_DAYS: Final = 400
"""How far ahead an opening is looked for."""

_DAY: Final = 86_400
_DAYS_KEPT: Final = 500
_CALENDARS_KEPT: Final = 2000
Seconds = tuple[float, float]
"""From and until, in seconds of the wall's clock since midnight."""
Span = tuple[datetime, datetime]
"""From and until, in UTC."""


def is_open(calendar: Calendar | None, time_zone: str, at: datetime) -> bool:
    """Whether it is open at that moment; without a calendar it always is."""
    return next_open(calendar, time_zone, at) == at


def next_open(calendar: Calendar | None, time_zone: str, at: datetime) -> datetime:
    """The first open moment not before `at`, or `NEVER` when the next 400 days have none."""
    if calendar is None:
        return at
    read = _read(calendar)
    if not read.has_hours:
        return NEVER
    zone = ZoneInfo(time_zone)
    today = at.astimezone(zone).date()
    found = None
    # From yesterday, and one day further than the first opening: clocks that go back at midnight repeat a date.
    for offset in range(-1, LONGEST_CLOSURE_DAYS + 1):
        later = _first(read.spans(today + timedelta(days=offset), zone), at)
        if found is not None:
            return min(found, later or found)
        found = later
    return found or NEVER


def shifts_at(calendar: Calendar, time_zone: str, at: datetime) -> list[Shift]:
    """The shifts that are on. One over midnight belongs to the day on which it starts.

    They go by the weekday alone: people may be on duty on a holiday too, though it is closed to the public.
    """
    wall = at.astimezone(ZoneInfo(time_zone))
    today, yesterday = wall.isoweekday(), (wall.isoweekday() - 2) % 7 + 1
    return [
        shift
        for shift in calendar.shifts
        if (today in shift.days and _has_begun(shift, wall.time()))
        or (yesterday in shift.days and shift.end <= shift.start and wall.time() < shift.end)
    ]


def _has_begun(shift: Shift, wall: time) -> bool:
    return shift.start <= wall and (shift.end <= shift.start or wall < shift.end)


def _first(spans: list[Span], at: datetime) -> datetime | None:
    return next((max(start, at) for start, end in spans if end > at), None)


@dataclass(frozen=True, slots=True)
class _Read:
    """A calendar as it is asked: hours by weekday without the breaks, special days by date, spans once worked out."""

    hours: tuple[list[Seconds], ...]
    closed: frozenset[date]
    closed_holidays: frozenset[date]
    make_up: dict[date, int]
    known: dict[tuple[date, str], list[Span]] = field(default_factory=dict)

    @property
    def has_hours(self) -> bool:
        return any(self.hours)

    def spans(self, day: date, zone: ZoneInfo) -> list[Span]:
        """When it is open on a local date, in order."""
        found = self.known.get((day, zone.key))
        if found is None:
            if len(self.known) > _DAYS_KEPT:
                self.known.clear()
            found = self.known[day, zone.key] = _on_the_wall(day, self._hours_of(day), zone)
        return found

    def _hours_of(self, day: date) -> list[Seconds]:
        if day in self.closed:
            return []
        as_day = self.make_up.get(day)
        if as_day is None and day in self.closed_holidays:
            return []
        return self.hours[(as_day or day.isoweekday()) - 1]


_known: dict[int, tuple[ref[Calendar], _Read]] = {}


def _read(calendar: Calendar) -> _Read:
    """Each calendar is read once: the directory keeps its objects until they change."""
    known = _known.get(id(calendar))
    if known is not None and known[0]() is calendar:
        return known[1]
    if len(_known) > _CALENDARS_KEPT:
        _known.clear()
    read = _Read(
        tuple(_cut(_of_day(calendar.weekly, day), _of_day(calendar.breaks, day)) for day in range(1, 8)),
        frozenset(d.date for d in calendar.closed),
        frozenset() if calendar.open_on_holidays else frozenset(d.date for d in calendar.holidays),
        {d.date: d.as_day for d in calendar.make_up_days},
    )
    _known[id(calendar)] = ref(calendar), read
    return read


def _of_day(windows: list[Window], day: int) -> list[Seconds]:
    return sorted((_seconds(w.start), _seconds(w.end) or _DAY) for w in windows if day in w.days)


def _seconds(wall: time) -> float:
    return wall.hour * 3600 + wall.minute * 60 + wall.second + wall.microsecond / 1e6


def _cut(hours: list[Seconds], breaks: list[Seconds]) -> list[Seconds]:
    """The hours without the breaks."""
    for off, on in breaks:
        hours = [
            piece
            for start, end in hours
            for piece in ((start, min(end, off)), (max(start, on), end))
            if piece[0] < piece[1]
        ]
    return sorted(hours)


def _on_the_wall(day: date, hours: list[Seconds], zone: ZoneInfo) -> list[Span]:
    """The moments at which the wall shows these hours of the date."""
    if not hours:
        return []
    midnight = datetime.combine(day, time(0), UTC)
    spans = []
    for since, until, ahead in _steady(midnight - timedelta(hours=15), midnight + timedelta(hours=39), zone):
        for start, end in hours:
            begins = max(since, midnight + timedelta(seconds=start) - ahead)
            ends = min(until, midnight + timedelta(seconds=end) - ahead)
            if begins < ends:
                spans.append((begins, ends))
    return sorted(spans)


def _steady(since: datetime, until: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime, timedelta]]:
    """The time in between, in pieces in which the zone is as far ahead of UTC all the time."""
    before, after = _ahead(since, zone), _ahead(until, zone)
    if before == after:
        return [(since, until, before)]
    low, high = 0, int((until - since).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _ahead(since + timedelta(seconds=middle), zone) == before else (low, middle)
    change = since + timedelta(seconds=high)
    return [(since, change, before), (change, until, after)]


def _ahead(at: datetime, zone: ZoneInfo) -> timedelta:
    ahead = at.astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead
