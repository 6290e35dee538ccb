"""What Kefu itself counted: its daily report, its sink, its metrics."""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kefu_local.demo.client import Client, Json
from kefu_local.demo.tally import CHANNELS, MEASURES, Counts, Tally

SHOP_ZONE = ZoneInfo("Asia/Shanghai")
SETTLES_WITHIN_S, RESTS_WITHIN_S = 20.0, 15.0
LOOK_S = 0.4
"""Longer than a service takes to notice that it is behind."""
SINK_LIMIT = 10_000
DEAD_LETTERS = re.compile(r"^kefu_dead_letters_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
BEHIND = re.compile(r"^kefu_(?:consumer_lag\{[^}]*\}|outbox_oldest_seconds) ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Figures:
    counts: Counts
    waited_s: float
    """Of all who were answered, together."""
    sms: int
    emails: int
    dead_letters: int

    def since(self, before: "Figures") -> "Figures":
        """What came in between. A service that started anew meanwhile counts its dead letters from nought."""
        grown = {m: {c: self.counts[m][c] - before.counts[m][c] for c in CHANNELS} for m in MEASURES}
        return Figures(
            grown,
            self.waited_s - before.waited_s,
            self.sms - before.sms,
            self.emails - before.emails,
            max(0, self.dead_letters - before.dead_letters),
        )

    def agrees(self, tally: Tally) -> bool:
        return self.counts == tally.counts() and (self.sms, self.emails) == (tally.sms, tally.emails)

    @property
    def mean_wait_s(self) -> float | None:
        answered = sum(self.counts["answered"].values())
        return self.waited_s / answered if answered else None


def today() -> date:
    return datetime.now(SHOP_ZONE).date()


async def read(client: Client, first_day: date) -> Figures:
    """From that day until now: an hour may end on another day than it began."""
    days = [first_day + timedelta(days=n) for n in range((today() - first_day).days + 1)]
    reports = [await client.get("reporting", "/v1/reports/daily", date=day.isoformat(), by="channel") for day in days]
    rows: list[Json] = [row for report in reports for row in report["rows"]]
    return Figures(
        counts={m: {c: sum(row[m] for row in rows if row["channel"] == c) for c in CHANNELS} for m in MEASURES},
        waited_s=sum((row["wait_s"] or 0.0) * row["answered"] for row in rows),
        sms=await _in_sink(client, "sms"),
        emails=await _in_sink(client, "email"),
        dead_letters=await _dead_letters(client),
    )


async def at_rest(client: Client, first_day: date) -> Figures:
    """What is counted before anything begins, once what came earlier is counted too."""
    deadline = time.monotonic() + RESTS_WITHIN_S
    found = await read(client, first_day)
    while True:
        await asyncio.sleep(LOOK_S)
        is_on_its_way = await _is_on_its_way(client)
        earlier, found = found, await read(client, first_day)
        if (found == earlier and not is_on_its_way) or time.monotonic() > deadline:
            return found


async def settled(client: Client, first_day: date, before: Figures, tally: Tally) -> Figures:
    """What came since `before`, as soon as it agrees with the tally; what there is when it does not in time."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        found = (await read(client, first_day)).since(before)
        if found.agrees(tally) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(LOOK_S)


async def _in_sink(client: Client, channel: str) -> int:
    return len((await client.get("sink", "/messages", channel=channel, limit=SINK_LIMIT))["items"])


async def _dead_letters(client: Client) -> int:
    return round(sum(await _numbers(client, DEAD_LETTERS)))


async def _is_on_its_way(client: Client) -> bool:
    """Whether anything waits in an outbox or has not been read."""
    return any(await _numbers(client, BEHIND))


async def _numbers(client: Client, metric: re.Pattern[str]) -> list[float]:
    pages = [await client.send(service, "GET", "/metrics") for service in client.stack["services"]]
    return [float(number) for page in pages for number in metric.findall(page.text)]
