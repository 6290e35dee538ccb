"""`/v1/reports`."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

import asyncpg
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, model_validator

from kefu_common.directory_follower import Directory
from kefu_common.events.directory import Account, Site
from kefu_common.events.words import Channel
from kefu_common.given import NO_NUL
from kefu_common.http.auth import Principal, principal
from kefu_common.http.problems import Unavailable, declared
from kefu_common.postgres.database import Connection, Database, passes
from kefu_reporting.domain.counting import local_day
from kefu_reporting.domain.daily import By, Figures, Filter, figures, is_open, rows, total
from kefu_reporting.store import daily_sums

DEFAULT_TIME_ZONE: Final = "Asia/Shanghai"
"""Of an account of which the directory says nothing (design, section 7)."""

router = APIRouter(prefix="/v1/reports", tags=["reports"])


def _calendar_date(value: object) -> object:
    # Pydantic alone would also take a time stamp, or a number as seconds since 1970.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("expected a date such as 2026-11-23")
    return value


CalendarDate = Annotated[date, BeforeValidator(_calendar_date)]
Named = Annotated[str, StringConstraints(max_length=100, pattern=NO_NUL)]
"""An id or word; one that nobody has is no error and matches nothing. Postgres has no text with a NUL."""


class DailyQuery(BaseModel):
    """What the daily report is asked for. An empty parameter is as good as none."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    date: CalendarDate | None = None
    """The local day; today if there is none."""
    site: Named | None = None
    group: Named | None = None
    channel: Channel | None = None
    agent: Named | None = None
    by: By = By.SITE
    """The dimension that the rows are grouped by."""
    format: Literal["json"] = "json"

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: object) -> object:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given


class Measures(BaseModel):
    """Counts, and means in seconds (null when nothing was counted). Each counts on the local day it happened."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    opened: int
    """Tickets opened."""
    offered: int
    """Tickets offered to an agent for the first time, under that agent."""
    answered: int
    """Tickets that an agent took for the first time, under that agent."""
    abandoned: int
    """Tickets whose contact left, or waited too long, before an answer."""
    refused: int
    """Tickets not taken: closed, or a source that is not served."""
    resolved: int
    """Tickets resolved, where and when they were resolved last, under the agent who did."""
    messages_left: int
    """Messages left (channel `message`), each one."""
    first_replies: int
    """Tickets answered in writing for the first time, under the agent who wrote."""
    wait_s: float | None
    """From opening to the answer, mean over `answered`."""
    first_reply_s: float | None
    """From opening to the first reply, mean over `first_replies`."""
    handling_s: float | None
    """Time that agents had a ticket in hand, mean over `resolved`."""


class Dimension(BaseModel):
    """The value that a row is about: the one field that `by` names. Null where there is none."""

    site: str | None = None
    group: str | None = None
    channel: str | None = None
    agent: str | None = None
    category: str | None = None
    kind: str | None = None


class Row(Measures, Dimension):
    """One line of a report."""


class DailyReport(BaseModel):
    """One local day. `open`: the day has not ended, so that the numbers may still grow."""

    period: date
    open: bool
    by: By
    rows: list[Row]
    totals: Measures


@router.get("/daily", response_model_exclude_unset=True, responses=declared(401, 403, 422, 503))
async def daily(
    request: Request, query: Annotated[DailyQuery, Query()], who: Annotated[Principal, Depends(principal)]
) -> DailyReport:
    """The daily report, per site, group, channel, agent, category or kind."""
    who.need("reports:read")
    if query.site is not None:
        who.need_site(query.site)
    now = datetime.now(UTC)
    time_zone = _time_zone(request.app.state.directory, who.account, query.site)
    day = query.date or local_day(now, time_zone)
    sites = who.sites if query.site is None else frozenset({query.site})
    wanted = Filter(who.account, day, sites, query.group, query.channel, query.agent)
    async with _reading(request.app.state.database) as connection:
        found = await daily_sums.read(connection, wanted, query.by)
    return DailyReport(
        period=day,
        open=is_open(day, time_zone, now),
        by=query.by,
        rows=[_row(query.by, value, line) for value, line in rows(found)],
        totals=Measures(**asdict(figures(total(found.values())))),
    )


def _row(by: By, value: str | None, line: Figures) -> Row:
    return Row.model_validate({by.value: value, **asdict(line)})


def _time_zone(directory: Directory, account: str, site: str | None) -> str:
    found = directory.get(account, "site", Site, site) if site is not None else None
    owner = found or directory.get(account, "account", Account, account)
    return owner.time_zone if owner is not None else DEFAULT_TIME_ZONE


@asynccontextmanager
async def _reading(database: Database) -> AsyncIterator[Connection]:
    """A connection to read with. Raises `Unavailable` while the database is away."""
    try:
        async with database.pool.acquire(timeout=5) as connection:
            yield connection
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if passes(error):
            raise Unavailable("the database is away") from error
        raise
