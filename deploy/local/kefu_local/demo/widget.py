"""The chat widget and its visitors: they ask, read, answer, thank, rate, and sometimes leave."""

import asyncio
from dataclasses import dataclass, field

from kefu_client import Delivered, Done, Failed, Instruction, Outcome
from kefu_common.waking import is_set_within
from kefu_local.demo.arrivals import Arrival, Kind
from kefu_local.demo.shop import Shop
from kefu_local.demo.switch import SOON_REAL_S
from kefu_local.demo.talk import Dialogue

RATING_SHARE = 0.4
SCORES = (5, 5, 5, 4, 4, 3, 1)
ANSWER_WITHIN_S = 900.0


@dataclass
class Chat:
    interaction: str
    site: str
    assigned: asyncio.Event = field(default_factory=asyncio.Event)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    """Something was said since the visitor spoke last."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Widget:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._chats: dict[str, Chat] = {}

    async def visitor(self, arrival: Arrival) -> None:
        """From the first question to closing the window."""
        shop = self._shop
        site = "night" if arrival.kind is Kind.NIGHT_CHAT else "shop"
        chat = Chat(shop.client.name("chat"), site)
        self._chats[chat.interaction] = chat
        assert isinstance(arrival.says, Dialogue)
        await shop.client.post(
            "chat.started",
            chat.interaction,
            site,
            source=arrival.source,
            category=arrival.category,
            contact=arrival.contact.claim("phone", "email") if arrival.contact else None,
            data={"page": f"https://shop.example/{arrival.source}"},
        )
        shop.tally.opened["chat"].add(chat.interaction)
        if site == "night":
            shop.tally.refused["chat"].add(chat.interaction)
            await is_set_within(chat.over, shop.pace.real(300, 10.0))
            return
        await self._converse(chat, arrival, arrival.says)

    def instructed(self, instruction: Instruction) -> Outcome:
        """Whatever Kefu wants of the widget."""
        chat = self._chats.get(instruction.interaction)
        match instruction.type:
            case "chat.say" if chat is not None and not chat.over.is_set():
                chat.spoken.set()
                return Delivered()
            case "chat.say":
                return Failed("the visitor has left")
            case "chat.assigned" if chat is not None:
                chat.assigned.set()
            case "chat.refused" | "chat.close" if chat is not None:
                chat.over.set()
                chat.spoken.set()
        return Done()

    async def close_all(self) -> None:
        """The demo ends early."""
        for chat in self._chats.values():
            if chat.interaction in self._shop.tally.opened["chat"] and not chat.over.is_set():
                await self._leave(chat)

    async def _converse(self, chat: Chat, arrival: Arrival, says: Dialogue) -> None:
        shop = self._shop
        await self._say(chat, says.lines[0].asks)
        shop.waiting.add(chat.interaction)
        patience = shop.pace.real(arrival.patience_s, SOON_REAL_S if arrival.is_patient else 0.0)
        came = await is_set_within(chat.assigned, patience)
        shop.waiting.discard(chat.interaction)
        if not came:
            await self._leave(chat)
            return
        for line in says.lines[1:]:
            if not await self._is_answered(chat):
                break
            await shop.pace.sleep(shop.takes(8, 40))
            if chat.over.is_set():
                break
            await self._say(chat, line.asks)
        await self._part(chat)

    async def _say(self, chat: Chat, text: str) -> None:
        chat.spoken.clear()
        await self._shop.client.post("chat.message", chat.interaction, chat.site, data={"text": text})

    async def _is_answered(self, chat: Chat) -> bool:
        return await is_set_within(chat.spoken, self._shop.pace.real(ANSWER_WITHIN_S, SOON_REAL_S))

    async def _part(self, chat: Chat) -> None:
        """The agent ends it; the visitor then may say how it was."""
        shop = self._shop
        if not await is_set_within(chat.over, shop.pace.real(ANSWER_WITHIN_S, SOON_REAL_S)):
            await self._leave(chat)
        if shop.rng.random() < RATING_SHARE:
            score = shop.rng.choice(SCORES)
            await shop.client.post("rating.given", chat.interaction, chat.site, data={"score": score})
            shop.tally.ratings.append(score)

    async def _leave(self, chat: Chat) -> None:
        chat.over.set()
        await self._shop.client.post("chat.ended", chat.interaction, chat.site, data={"by": "contact"})
        if not chat.assigned.is_set():
            self._shop.tally.left["chat"].add(chat.interaction)
