"""Calendars that lack the public holidays of the year to come: counted, and warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kefu_common.events.directory import Calendar
from kefu_common.postgres.database import Database
from kefu_common.telemetry import logs, metrics
from kefu_routing.domain.public_holidays import alarm
from kefu_routing.store import directory

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A calendar, and what to do about it."""

    account: str
    calendar: str
    hint: str


async def incomplete(db: Database, today: date) -> Sequence[Incomplete]:
    """The calendars of all accounts that lack days of their country."""
    rows = await directory.calendars_of_countries(db.pool)
    calendars = [(row["account"], Calendar.model_validate(row["body"])) for row in rows]
    return [Incomplete(a, c.id, hint) for a, c in calendars if (hint := alarm(c, today)) is not None]


async def count_incomplete(db: Database, today: date) -> None:
    """Keep the metric."""
    metrics.CALENDARS_INCOMPLETE.set(len(await incomplete(db, today)))


async def warn_of_incomplete(db: Database, today: date) -> None:
    """Log each of them."""
    for found in await incomplete(db, today):
        log.warning("calendar_incomplete", account=found.account, calendar=found.calendar, hint=found.hint)
