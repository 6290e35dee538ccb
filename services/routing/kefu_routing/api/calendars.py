"""Calendars over HTTP: like the other objects of the directory, and public holidays that they begin with."""

from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from kefu_common.events.directory import Calendar, DirectoryObject, Region, TimeZone
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.postgres.database import Connection
from kefu_routing.api import known_holidays
from kefu_routing.api.context import Answer, Service, Who, body_of, directory_of, now, respond, run
from kefu_routing.api.directory import ERRORS, add_resource, documented_body, follow_up, need_object, put_object
from kefu_routing.domain import hours
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.public_holidays import add_missing, alarm
from kefu_routing.store import directory as store

router = APIRouter(prefix="/v1", tags=["calendars"])


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


class WantedHolidays(Given):
    """Of which years the public holidays are added; of the calendar's own country unless another is named."""

    country: Region | None = None
    years: list[Annotated[int, Field(ge=2000, le=2100)]] = Field(min_length=1, max_length=10)


class Moment(BaseModel):
    """When, and by which clock: now, and the account's, unless it is said."""

    model_config = ConfigDict(extra="forbid")

    at: Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)] | None = None
    time_zone: TimeZone | None = None


def with_alarm(body: dict[str, Any]) -> dict[str, Any]:
    """A calendar as it is shown: with what to do if its country's days are missing."""
    missing = alarm(Calendar.model_validate(body), now().date())
    return body if missing is None else {**body, "alarm": missing}


def seeded(calendar: Calendar, today: date) -> Calendar:
    """A new calendar with the public holidays of its country of this year and next, unless it says which it has."""
    if calendar.country is None or "holidays" in calendar.model_fields_set:
        return calendar
    return add_missing(calendar, known_holidays.public_days(calendar.country, (today.year, today.year + 1)))[0]


def _begun(body: DirectoryObject, directory: AccountDirectory) -> DirectoryObject:
    assert isinstance(body, Calendar)
    return seeded(body, now().astimezone(ZoneInfo(directory.account.time_zone)).date())


add_resource(router, "calendars", "calendar", Calendar, show=with_alarm, complete=_begun)


@router.get("/calendars/{id}/hours", responses=ERRORS)
async def read_hours(id: str, moment: Annotated[Moment, Query()], who: Who, service: Service) -> Response:
    """Whether a calendar is open at a moment, when next (null: not within 400 days), and which shifts are on."""
    who.need("directory:read")
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
    calendar = directory.calendars.get(id)
    if calendar is None:
        raise problems.NotFound(f"there is no calendar {id}")
    at, zone = moment.at or now(), moment.time_zone or directory.account.time_zone
    opens = hours.next_open(calendar, zone, at)
    body = {
        "at": at,
        "time_zone": zone,
        "open": opens == at,
        "next_open": None if opens == hours.NEVER else opens.astimezone(ZoneInfo(zone)),
        "shifts": [shift.name for shift in hours.shifts_at(calendar, zone, at)],
    }
    return respond(Answer(body))


@router.post("/calendars/{id}/holidays", responses=ERRORS, openapi_extra=documented_body(WantedHolidays))
async def add_holidays(id: str, request: Request, who: Who, service: Service) -> Response:
    """Add the public holidays, and China's make-up days, that a calendar has nothing about yet; remove nothing."""
    who.need("directory:write")
    wanted = await body_of(request, WantedHolidays)

    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        calendar = Calendar.model_validate(await need_object(tx, who.account, "calendar", id))
        country = wanted.country or calendar.country
        if country is None:
            raise problems.Invalid([("country", "name one: the calendar has none")])
        completed, added = add_missing(calendar, known_holidays.public_days(country, wanted.years))
        version = await put_object(tx, request, who, who.account, "calendar", completed)
        groups = await follow_up(tx, who.account, [completed])
        body = {
            "calendar": with_alarm(completed.model_dump(mode="json")),
            "added": {
                "holidays": [d.model_dump(mode="json") for d in added.holidays],
                "make_up_days": [d.model_dump(mode="json") for d in added.make_up_days],
            },
        }
        return Answer(body, etag=str(version), groups=groups)

    return await run(request, who, service, wanted, command)
