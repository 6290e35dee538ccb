"""The hour: who comes, who works, and how it ends."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from kefu_client import Instruction, Outcome, Refused
from kefu_local.demo import figures, letters
from kefu_local.demo.arrivals import Arrival, Kind, arrivals
from kefu_local.demo.client import Client, KefuRefused
from kefu_local.demo.feed import Feed
from kefu_local.demo.figures import Figures
from kefu_local.demo.floor import Floor
from kefu_local.demo.pace import HOUR_MIN, Pace
from kefu_local.demo.people import pool
from kefu_local.demo.screen import Screen
from kefu_local.demo.shop import Shop
from kefu_local.demo.switch import Switch
from kefu_local.demo.tally import Tally
from kefu_local.demo.trace import Showcase
from kefu_local.demo.widget import Widget
from kefu_local.errors import LocalError
from kefu_local.stack import StackFile

PEOPLE = 70
FEEDS_OPEN_WITHIN_S = 30.0
AFTER_HOURS_S, AFTER_HOURS_REAL_S = 1800.0, 45.0
"""How long what is in hand may take once the last one came."""
LEAVE_WITHIN_S = 8.0


@dataclass(frozen=True)
class Wish:
    speed: float = 60.0
    seed: int | None = None
    load: float = 1.0
    """1: an ordinary morning."""


@dataclass(frozen=True)
class Played:
    run: str
    seed: int
    speed: float
    took_s: float
    all_done: bool
    """Whether everything that came was dealt with in the hour."""
    tally: Tally
    figures: Figures
    trace: str | None


async def play(stack: StackFile, wish: Wish, screen: Screen) -> Played:
    """Raises LocalError. However it ends, the contacts have hung up then, and the agents are signed out."""
    seed = secrets.randbelow(10_000) if wish.seed is None else wish.seed
    hour = _Hour(stack, wish, seed, screen)
    async with hour.client.http, hour.client.kefu:
        first_day = figures.today()
        before = await figures.at_rest(hour.client, first_day)
        await hour.play()
        screen.say("Waiting until the report has counted everything …")
        found = await figures.settled(hour.client, first_day, before, hour.tally)
        hour.tally.repeats += hour.client.kefu.repeats
        trace = await hour.showcase.publish(hour.client.http, stack["traces"])
    return Played(hour.client.run, seed, wish.speed, hour.pace.real_s, hour.all_done, hour.tally, found, trace)


class _Hour:
    def __init__(self, stack: StackFile, wish: Wish, seed: int, screen: Screen) -> None:
        self.tally = Tally()
        self.client = Client(stack, secrets.token_hex(4), self.tally)
        self.pace = Pace(wish.speed)
        self.showcase = Showcase()
        self.all_done = False
        rng = Random(seed)
        self._coming = arrivals(rng, pool(rng, self.client.run, PEOPLE), wish.load)
        self._rng = rng
        self._screen = screen

    async def play(self) -> None:
        failures: list[LocalError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                shop = Shop(self.client, self.pace, self._rng, self.tally, tasks)
                self._floor = Floor(shop)
                self._switch = Switch(shop, self._floor.desks)
                self._widget = Widget(shop)
                await self._open_and_close(shop)
        except* LocalError as group:
            failures += [error for error in _leaves(group) if isinstance(error, LocalError)]
        finally:
            if not self.all_done:
                await self._leave()
        if failures:
            raise failures[0]

    async def _open_and_close(self, shop: Shop) -> None:
        background = await self._listen(shop)
        self.pace.start()
        closing = asyncio.Event()
        background.append(shop.spawn(self._show(shop)))
        shifts = [shop.spawn(desk.shift(closing)) for desk in self._floor.desks.values()]
        await asyncio.gather(*(shop.spawn(self._comes(shop, arrival)) for arrival in self._coming))
        self.all_done = await self._floor.finish(self.pace.real(AFTER_HOURS_S, AFTER_HOURS_REAL_S))
        closing.set()
        await asyncio.gather(*shifts)
        await self._floor.go_home()
        for task in background:
            task.cancel()

    async def _listen(self, shop: Shop) -> list[asyncio.Task[None]]:
        events = Feed(self.client, "tickets", "admin", self._floor.happened, self._floor.missed)
        listens = asyncio.Event()
        following = [shop.spawn(events.follow()), shop.spawn(self._follow(listens))]
        try:
            async with asyncio.timeout(FEEDS_OPEN_WITHIN_S):
                await asyncio.gather(listens.wait(), events.opened.wait())
        except TimeoutError:
            raise LocalError("notifications gives no feed: see `make status`.") from None
        return following

    async def _follow(self, listens: asyncio.Event) -> None:
        try:
            await self.client.kefu.follow(self._instructed, on_open=listens.set)
        except Refused as error:
            raise KefuRefused(f"Kefu refuses the stream of instructions: {error}") from None

    async def _instructed(self, instruction: Instruction) -> Outcome:
        played_by = self._switch if instruction.type.startswith("call.") else self._widget
        return played_by.instructed(instruction)

    async def _comes(self, shop: Shop, arrival: Arrival) -> None:
        await self.pace.until(arrival.minute)
        match arrival.kind:
            case Kind.CALL | Kind.NIGHT_CALL:
                await self._switch.caller(arrival)
            case Kind.CHAT | Kind.NIGHT_CHAT:
                await self._widget.visitor(arrival)
            case Kind.EMAIL:
                await letters.email(shop, arrival)
            case Kind.MESSAGE:
                await letters.message(shop, arrival, self.showcase)

    async def _show(self, shop: Shop) -> None:
        while True:
            opened = {channel: len(found) for channel, found in self.tally.opened.items()}
            resolved = sum(len(found) for found in self.tally.resolved.values())
            self._screen.show(min(self.pace.minute, HOUR_MIN), self.pace.clock(), opened, len(shop.waiting), resolved)
            await asyncio.sleep(self._screen.every_s)

    async def _leave(self) -> None:
        """Nobody stays on the line, and no seat stays taken, when the demo ends early."""
        with suppress(TimeoutError, LocalError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await asyncio.gather(self._switch.hang_up_all(), self._widget.close_all(), self._floor.go_home())


def _leaves(group: BaseExceptionGroup[LocalError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
