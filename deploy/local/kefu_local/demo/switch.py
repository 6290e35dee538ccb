"""The phone switch and its callers: rings agents, connects, hangs up, as Kefu instructs."""

import asyncio
import time
from dataclasses import dataclass, field

from kefu_client import Done, Failed, Instruction, Outcome
from kefu_common.waking import is_set_within
from kefu_local.demo.arrivals import Arrival, Kind
from kefu_local.demo.client import Json
from kefu_local.demo.desk import Desk
from kefu_local.demo.shop import Shop
from kefu_local.demo.talk import Dialogue

HOTLINE_NUMBER = "4001234567"
SOON_REAL_S = 3.0
"""The patience that Kefu itself needs at any speed."""


@dataclass
class Call:
    interaction: str
    site: str
    topic: str = "pre-sale"
    agent: str | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    posting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One thing after the other: an answer never overtakes the end."""
    rings: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Switch:
    def __init__(self, shop: Shop, desks: dict[str, Desk]) -> None:
        self._shop = shop
        self._desks = desks
        self._calls: dict[str, Call] = {}

    async def caller(self, arrival: Arrival) -> None:
        """From dialling to hanging up."""
        shop = self._shop
        site = "night" if arrival.kind is Kind.NIGHT_CALL else "shop"
        topic = arrival.says.group if isinstance(arrival.says, Dialogue) else "pre-sale"
        call = Call(shop.client.name("call"), site, topic)
        self._calls[call.interaction] = call
        number = arrival.contact.phone if arrival.contact else None
        await shop.client.post(
            "call.started",
            call.interaction,
            site,
            source=arrival.source,
            category=arrival.category,
            contact=arrival.contact.claim("phone") if arrival.contact else None,
            data={"from": number, "to": HOTLINE_NUMBER},
        )
        shop.tally.opened["call"].add(call.interaction)
        if site == "night":
            shop.tally.refused["call"].add(call.interaction)
            await is_set_within(call.ended, shop.pace.real(300, 10.0))
            return
        shop.waiting.add(call.interaction)
        patience = shop.pace.real(arrival.patience_s, SOON_REAL_S if arrival.is_patient else 0.0)
        if not await is_set_within(call.answered, patience):
            await self._end(call, "hang_up")
        shop.waiting.discard(call.interaction)
        await call.ended.wait()

    def instructed(self, instruction: Instruction) -> Outcome:
        """Whatever Kefu wants of the switch."""
        call = self._calls.get(instruction.interaction)
        if call is None:
            # Somebody else's, posted with the same key: a caller who has all the time in the world.
            call = self._calls[instruction.interaction] = Call(instruction.interaction, instruction.site)
        match instruction.type:
            case "call.ring":
                return self._ring(call, instruction.data["agent"], instruction.data["offer"])
            case "call.cancel":
                if (ring := call.rings.get(instruction.data["offer"])) is not None:
                    ring.cancel()
            case "call.hang_up" if call.site == "night":
                call.ended.set()
            case "call.hang_up":
                self._shop.spawn(self._end(call, "hung_up_by_agent"))
        return Done()

    async def hang_up_all(self) -> None:
        """The demo ends early."""
        for call in self._calls.values():
            if self._is_ours(call):
                await self._end(call, "hang_up")

    def _is_ours(self, call: Call) -> bool:
        return call.interaction in self._shop.tally.opened["call"]

    def _ring(self, call: Call, agent: str, offer: str) -> Outcome:
        desk = self._desks.get(agent)
        if desk is None or call.ended.is_set():
            return Failed("nobody to ring" if desk is None else "the caller hung up")
        call.rings[offer] = self._shop.spawn(self._until_picked_up(call, desk, offer))
        return Done()

    async def _until_picked_up(self, call: Call, desk: Desk, offer: str) -> None:
        if await desk.picks_up(offer):
            # From here on a cancelled ring must not tear a request in two.
            self._shop.spawn(self._connect(call, desk))

    async def _connect(self, call: Call, desk: Desk) -> None:
        shop = self._shop
        async with call.posting:
            if call.ended.is_set() or call.agent is not None:
                return
            call.agent = desk.agent
            await shop.client.post("call.answered", call.interaction, call.site, data={"agent": desk.agent})
            shop.tally.answered["call"].add(call.interaction)
            call.answered.set()
        began = time.monotonic()
        await is_set_within(call.ended, shop.pace.real(shop.takes(90, 330), 0.2))
        await self._end(call, "normal", round(time.monotonic() - began, 1))
        await desk.after_call(call.interaction, call.topic)

    async def _end(self, call: Call, cause: str, duration_s: float | None = None) -> None:
        async with call.posting:
            if call.ended.is_set():
                return
            data: Json = {"cause": cause}
            if duration_s is not None:
                data |= {"duration_s": duration_s, "recording": f"rec/{call.interaction}.wav"}
            await self._shop.client.post("call.ended", call.interaction, call.site, data=data)
            if not call.answered.is_set() and self._is_ours(call):
                self._shop.tally.left["call"].add(call.interaction)
            call.ended.set()
