"""The office: twelve desks, and the feed that tells them what is new."""

import asyncio

from kefu_local.demo.client import Json
from kefu_local.demo.desk import Desk
from kefu_local.demo.shop import Shop

AGENTS = tuple(f"a{number:02}" for number in range(1, 13))
LOOK_REAL_S = 0.2


class Floor:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.desks = {agent: Desk(shop, agent) for agent in AGENTS}

    def happened(self, event: Json) -> None:
        """A ticket event; calls are offered by the switch, which rings."""
        data = event["data"]
        match event["type"]:
            case "kefu.ticket.offered" if data["channel"] != "call":
                if desk := self.desks.get(data["agent"]):
                    desk.offered(str(data["offer"]))
            case "kefu.ticket.message_received":
                if desk := self.desks.get(data.get("handler") or ""):
                    desk.hears(str(event["subject"]))

    def missed(self) -> None:
        """The feed has a gap: everybody looks for themselves."""
        for desk in self.desks.values():
            if desk.signed_in:
                self._shop.spawn(desk.look())

    async def finish(self, within_real_s: float) -> bool:
        """Waits until nobody has or awaits anything; False if that took too long."""
        try:
            async with asyncio.timeout(within_real_s):
                while not await self._is_quiet():  # noqa: ASYNC110 (another process has no event for us)
                    await asyncio.sleep(LOOK_REAL_S)
        except TimeoutError:
            return False
        return True

    async def go_home(self) -> None:
        await asyncio.gather(*(desk.go_home() for desk in self.desks.values()))

    async def _is_quiet(self) -> bool:
        if self._shop.tally.open_letters or not all(desk.is_idle for desk in self.desks.values()):
            return False
        queues = (await self._shop.client.get("routing", "/v1/queues"))["items"]
        return not any(queue["waiting"] for queue in queues)
