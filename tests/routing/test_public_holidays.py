"""Public holidays and make-up days that calendars begin with, and the alarm when they are missing (D-01, B-15)."""

from datetime import UTC, date, datetime, time

import pytest

from kefu_common.events.directory import Calendar, MakeUpDay, NamedDay, Window
from kefu_common.telemetry import metrics
from kefu_routing.api.known_holidays import public_days
from kefu_routing.domain.hours import is_open
from kefu_routing.domain.public_holidays import FESTIVALS, PublicDays, add_missing, alarm, chinese
from kefu_routing.handlers import calendars
from tests.routing.service import Routing


def days(found: list[NamedDay], name: str) -> list[str]:
    return [f"{d.date:%m-%d}" for d in found if d.name == name]


def test_the_days_off_of_china_have_the_names_of_their_festivals_as_the_state_council_told_them() -> None:
    # D-01, B-15
    public = public_days("CN", [2026])
    assert {d.name for d in public.holidays} == set(FESTIVALS)
    assert days(public.holidays, "元旦") == ["01-01", "01-02", "01-03"]
    assert days(public.holidays, "春节") == [f"02-{d}" for d in range(15, 24)]
    assert days(public.holidays, "清明节") == ["04-04", "04-05", "04-06"]
    assert days(public.holidays, "劳动节") == [f"05-0{d}" for d in range(1, 6)]
    assert days(public.holidays, "端午节") == ["06-19", "06-20", "06-21"]
    assert days(public.holidays, "中秋节") == ["09-25", "09-26", "09-27"]
    assert days(public.holidays, "国庆节") == [f"10-0{d}" for d in range(1, 8)]
    made_up = {f"{d.date:%m-%d}": (d.name, d.as_day) for d in public.make_up_days}
    assert made_up == {
        "01-04": ("元旦调休上班", 5),
        "02-14": ("春节调休上班", 5),
        "02-28": ("春节调休上班", 1),
        "05-09": ("劳动节调休上班", 2),
        "09-20": ("国庆节调休上班", 2),
        "10-10": ("国庆节调休上班", 3),
    }


def test_a_day_off_of_no_festival_is_a_day_of_rest_and_a_working_day_for_nothing_has_mondays_hours() -> None:
    named = {date(2026, 3, 4): "休息日（由 2026-03-08 调休）", date(2026, 9, 3): "抗战胜利纪念日"}
    public = chinese(named, [date(2026, 3, 8), date(2026, 3, 14), date(2025, 3, 8)], [2026])
    assert [(d.date.day, d.name) for d in public.holidays] == [(4, "休息日"), (3, "抗战胜利纪念日")]
    made_up = [(d.date.day, d.name, d.as_day) for d in public.make_up_days]
    assert made_up == [(8, "休息日调休上班", 3), (14, "调休上班", 1)]


def test_other_countries_have_their_holidays_too_and_an_unknown_one_none() -> None:
    germany = public_days("DE", [2026])
    assert NamedDay(date=date(2026, 10, 3), name="Tag der Deutschen Einheit") in germany.holidays
    assert germany.make_up_days == []
    assert public_days("XX", [2026]) == PublicDays([], [])


def test_adding_changes_nothing_that_people_edited() -> None:
    own = NamedDay(date=date(2026, 10, 1), name="店庆")
    calendar = Calendar(id="c", name="c", country="CN", holidays=[own])
    completed, added = add_missing(calendar, public_days("CN", [2026]))
    assert own in completed.holidays
    assert days(completed.holidays, "国庆节") == [f"10-0{d}" for d in range(2, 8)]
    assert own.date not in {d.date for d in added.holidays}
    assert [d.date for d in completed.holidays] == sorted(d.date for d in completed.holidays)
    again, nothing = add_missing(completed, public_days("CN", [2026]))
    assert (again, nothing) == (completed, PublicDays([], []))


@pytest.mark.parametrize(
    ("today", "country", "holidays", "make_up_days", "says"),
    [
        ("2026-10-31", "CN", [2026], [2026], None),
        ("2026-11-01", "CN", [2026], [2026], "public holidays of CN for 2027 are missing"),
        ("2026-11-01", "CN", [2026, 2027], [2026], "make-up working days for 2027 are missing"),
        ("2026-12-31", "CN", [2027], [2027], None),
        ("2027-01-01", "CN", [2026, 2027], [2026], "make-up working days for 2027 are missing"),
        ("2026-11-01", "DE", [2026], [], "public holidays of DE for 2027 are missing"),
        ("2026-11-01", "DE", [2027], [], None),
        ("2026-11-01", None, [], [], None),
    ],
)
def test_from_november_on_a_calendar_without_next_years_days_raises_an_alarm(
    today: str, country: str | None, holidays: list[int], make_up_days: list[int], says: str | None
) -> None:
    calendar = Calendar(
        id="c",
        name="c",
        country=country,
        holidays=[NamedDay(date=date(y, 1, 1), name="元旦") for y in holidays],
        make_up_days=[MakeUpDay(date=date(y, 1, 4), name="班") for y in make_up_days],
    )
    found = alarm(calendar, date.fromisoformat(today))
    assert (found is None) if says is None else (found is not None and says in found)


def test_an_office_of_china_is_open_on_the_sunday_that_makes_up_for_a_holiday() -> None:
    # D-01
    weekdays = Window(days=[1, 2, 3, 4, 5], start=time(9), end=time(18))
    office = Calendar(id="c", name="c", weekly=[weekdays], country="CN")
    office, _ = add_missing(office, public_days("CN", [2026]))
    noon = [datetime(2026, *day, 4, tzinfo=UTC) for day in ((9, 20), (9, 27), (10, 2), (10, 8))]
    assert [is_open(office, "Asia/Shanghai", at) for at in noon] == [True, False, False, True]


async def test_a_calendar_with_a_country_begins_with_its_holidays_and_later_years_are_added(shared: Routing) -> None:
    # D-01
    year = datetime.now(UTC).year
    made = await shared.call("POST", "/v1/calendars", {"id": "cn", "name": "中国", "country": "CN"}, expect=201)
    assert {d["date"][:4] for d in made["holidays"]} == {str(year), str(year + 1)}
    assert f"{year}-10-01" in [d["date"] for d in made["holidays"]]
    named = {"id": "own", "name": "自定", "country": "CN", "holidays": []}
    assert (await shared.call("POST", "/v1/calendars", named, expect=201))["holidays"] == []

    edited = {**made, "holidays": [{"date": f"{year}-03-08", "name": "店庆"}], "make_up_days": []}
    await shared.call("PUT", "/v1/calendars/cn", edited)
    wanted = {"country": "CN", "years": [year + 2]}
    answer = await shared.call("POST", "/v1/calendars/cn/holidays", wanted)
    assert {d["date"][:4] for d in answer["added"]["holidays"]} == {str(year + 2)}
    kept = await shared.call("GET", "/v1/calendars/cn")
    assert kept["holidays"] == [*edited["holidays"], *answer["added"]["holidays"]]
    again = await shared.call("POST", "/v1/calendars/cn/holidays", {"years": [year + 2]})
    assert again["added"]["holidays"] == []


async def test_a_calendar_tells_whether_it_is_open_at_a_moment_and_who_is_on_duty(shared: Routing) -> None:
    # D-01
    body = {
        "id": "duty",
        "name": "值班",
        "weekly": [{"days": [1, 2, 3, 4, 5], "start": "09:00", "end": "18:00"}],
        "shifts": [{"name": "夜班", "start": "22:00", "end": "06:00"}],
        "closed": [{"date": "2026-11-24", "name": "盘点"}],
    }
    await shared.call("POST", "/v1/calendars", body, expect=201)
    found = await shared.call("GET", "/v1/calendars/duty/hours?at=2026-11-23T23:30:00%2B08:00")
    assert (found["open"], found["next_open"], found["shifts"]) == (False, "2026-11-25T09:00:00+08:00", ["夜班"])
    there = "at=2026-11-23T10:00:00%2B01:00&time_zone=Europe/Berlin"
    found = await shared.call("GET", f"/v1/calendars/duty/hours?{there}")
    assert (found["open"], found["next_open"], found["shifts"]) == (True, "2026-11-23T10:00:00+01:00", [])
    await shared.call("POST", "/v1/calendars", {"id": "shut", "name": "关"}, expect=201)
    assert (await shared.call("GET", "/v1/calendars/shut/hours"))["next_open"] is None
    await shared.call("GET", "/v1/calendars/nowhere/hours", expect=404)
    for wrong in ("2026-11-23", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        await shared.call("GET", f"/v1/calendars/duty/hours?at={wrong}", expect=422)


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"years": []}, "years"),
        ({"years": [1900]}, "years.0"),
        ({"years": [2027]}, "country"),
        ({"country": "XX", "years": [2027]}, "country"),
    ],
)
async def test_holidays_that_nobody_can_add_are_refused(shared: Routing, wanted: dict[str, object], wrong: str) -> None:
    if (await shared.raw("GET", "/v1/calendars/plain")).status_code == 404:
        await shared.call("POST", "/v1/calendars", {"id": "plain", "name": "无"}, expect=201)
    refused = await shared.call("POST", "/v1/calendars/plain/holidays", wanted, expect=422)
    assert [e["path"] for e in refused["errors"]] == [wrong]
    await shared.call("POST", "/v1/calendars/nowhere/holidays", {"years": [2027]}, expect=404)


def counted() -> float:
    (metric,) = metrics.CALENDARS_INCOMPLETE.collect()
    return metric.samples[0].value


async def test_a_calendar_that_lacks_days_says_so_wherever_it_is_shown_and_is_counted(routing: Routing) -> None:
    await routing.set_up(agents=1)
    old = [{"date": "2001-01-01", "name": "元旦"}]
    lacking = {"id": "old", "name": "旧", "country": "CN", "holidays": old}
    made = await routing.call("POST", "/v1/calendars", lacking, expect=201)
    shown = await routing.call("GET", "/v1/calendars/old")
    assert "POST /v1/calendars/old/holidays" in shown["alarm"]
    (listed,) = (await routing.call("GET", "/v1/calendars"))["items"]
    assert listed == shown == {**made, "alarm": shown["alarm"]}
    refused = await routing.call("PUT", "/v1/calendars/old", shown, expect=422)
    assert refused["errors"] == [{"path": "alarm", "message": "unknown field"}]

    db = routing.process.db
    (found,) = await calendars.incomplete(db, date(2026, 11, 1))
    assert (found.account, found.calendar) == ("acme", "old")
    await routing.process.timers.warn_of_calendars()
    await routing.process.timers.count_calendars()
    assert counted() == 1
    today = datetime.now(UTC).date()
    current = [{"date": f"{today.year + n}-01-0{1 + 3 * m}", "name": "元旦"} for n in (0, 1) for m in (0, 1)]
    await routing.call("PUT", "/v1/calendars/old", {**made, "holidays": current, "make_up_days": current})
    await routing.process.timers.count_calendars()
    assert counted() == 0
