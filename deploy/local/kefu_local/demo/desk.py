"""An agent at a desk: signs in, takes what is offered, answers, passes on, resolves, and goes home."""

import asyncio
import time
from http import HTTPStatus

import httpx

from kefu_common.waking import is_set_within
from kefu_local.demo import talk
from kefu_local.demo.client import Json
from kefu_local.demo.shop import Shop
from kefu_local.demo.talk import Dialogue

LEASE_S = 30
HEARTBEAT_REAL_S = 8.0
COMES_WITHIN_S = 300.0
DECLINE_SHARE, MISS_SHARE, BREAK_SHARE, NOTE_SHARE = 0.03, 0.02, 0.25, 0.4
MISSES_UNTIL_MIN = 20.0
"""An offer that is missed runs out in Kefu's own time; later in the hour nobody could wait for that."""
REASONS = ("正在处理复杂问题", "需要先离开一下", "正在和主管沟通")
PATIENCE_S, PATIENCE_REAL_S = 180.0, 3.0
LONGEST_DELAY_REAL_S = 12.0
ANSWER_KNOWN_WITHIN_REAL_S, LOOK_REAL_S = 15.0, 0.25


class Desk:
    def __init__(self, shop: Shop, agent: str) -> None:
        self.agent = agent
        self.signed_in = False
        self._shop = shop
        self._offers: set[str] = set()
        self._news: dict[str, asyncio.Event] = {}
        """Tickets in hand; set when the contact wrote."""

    @property
    def is_idle(self) -> bool:
        return not self._offers and not self._news

    async def shift(self, closing: asyncio.Event) -> None:
        """From coming to the last ticket; who is signed in is signed out by `go_home`."""
        shop = self._shop
        await shop.pace.sleep(shop.takes(0, COMES_WITHIN_S))
        self.signed_in = True
        await self._act("POST", f"/v1/agents/{self.agent}/sign-in", {"lease_s": LEASE_S})
        await self.look()
        break_at = shop.takes(15, 45) if shop.rng.random() < BREAK_SHARE else None
        while not closing.is_set():
            if break_at is not None and shop.pace.minute > break_at:
                break_at = None
                await self._have_a_break()
            await is_set_within(closing, min(HEARTBEAT_REAL_S, shop.pace.real(120, 0.5)))
            await self._act("POST", f"/v1/agents/{self.agent}/heartbeat", {})

    async def go_home(self) -> None:
        if self.signed_in:
            await self._act("POST", f"/v1/agents/{self.agent}/sign-out", {})
            self.signed_in = False

    async def look(self) -> None:
        """Takes up what is on the desk: offers that no feed told of, and what was in hand from before."""
        client = self._shop.client
        for offer in (await client.get("routing", f"/v1/agents/{self.agent}/offers"))["items"]:
            ticket = await client.get("routing", f"/v1/tickets/{offer['ticket']}")
            if ticket["channel"] != "call":
                self.offered(str(offer["id"]))
        in_hand = await client.get("routing", "/v1/tickets", status="active", handler=self.agent)
        for ticket in in_hand["items"]:
            if ticket["id"] not in self._news:
                self._shop.spawn(self._handle(ticket))

    def offered(self, offer: str) -> None:
        """A chat or something written is on offer."""
        if offer not in self._offers and self.signed_in:
            self._offers.add(offer)
            self._shop.spawn(self._consider(offer))

    def hears(self, ticket: str) -> None:
        """The contact of a ticket in hand wrote."""
        if ticket in self._news:
            self._news[ticket].set()

    async def picks_up(self, offer: str) -> bool:
        """The phone rings. Some calls are declined, and some missed."""
        shop = self._shop
        await asyncio.sleep(min(shop.pace.real(shop.takes(3, 15)), LONGEST_DELAY_REAL_S))
        if self._misses():
            return False
        if shop.rng.random() < DECLINE_SHARE:
            await self._decline(offer)
            return False
        return True

    async def after_call(self, interaction: str, topic: str) -> None:
        """Writes down what the call was about."""
        shop = self._shop
        note, code = talk.CALL_NOTES.get(topic, (talk.NOTED, talk.SETTLED))
        await shop.pace.sleep(shop.takes(15, 60))
        ticket = await self._ticket_of(interaction)
        if ticket is not None and ticket["id"] not in self._news:
            self._news[ticket["id"]] = asyncio.Event()
            await self._resolve(ticket, note, code)
            del self._news[ticket["id"]]

    async def _ticket_of(self, interaction: str) -> Json | None:
        """Kefu may learn of the answer later than the agent, who gave it at the switch."""
        deadline = time.monotonic() + ANSWER_KNOWN_WITHIN_REAL_S
        while time.monotonic() < deadline:
            query = {"interaction": interaction, "status": "active", "handler": self.agent}
            found = await self._shop.client.get("routing", "/v1/tickets", **query)
            if found["items"]:
                return dict(found["items"][0])
            await asyncio.sleep(LOOK_REAL_S)
        return None

    async def _consider(self, offer: str) -> None:
        shop = self._shop
        try:
            await asyncio.sleep(min(shop.pace.real(shop.takes(5, 45)), LONGEST_DELAY_REAL_S))
            if self._misses():
                return
            if shop.rng.random() < DECLINE_SHARE:
                await self._decline(offer)
                return
            taken = await self._act("POST", f"/v1/offers/{offer}/accept", {})
        finally:
            self._offers.discard(offer)
        if taken.is_success:
            ticket: Json = taken.json()
            if ticket["owner"] == self.agent:
                shop.tally.answered[ticket["channel"]].add(ticket["interaction"])
            if ticket["id"] not in self._news:
                await self._handle(ticket)

    async def _handle(self, ticket: Json) -> None:
        self._news[ticket["id"]] = asyncio.Event()
        try:
            match ticket["channel"]:
                case "chat":
                    await self._chat(ticket)
                case "email":
                    await self._answer_letter(ticket)
                case _:
                    await self._resolve(ticket, talk.NOTED, talk.SETTLED)
        finally:
            self._news.pop(ticket["id"], None)

    async def _chat(self, ticket: Json) -> None:
        shop, news = self._shop, self._news[ticket["id"]]
        dialogue: Dialogue | None = None
        while True:
            news.clear()
            said = await self._said(ticket)
            dialogue, place = talk.BY_QUESTION.get(said[-1] if said else "", (dialogue, -1))
            if dialogue is not None and dialogue.group != ticket["group"] and await self._pass_on(ticket, dialogue):
                return
            await shop.pace.sleep(shop.takes(12, 50))
            answer = dialogue.lines[place].answer if dialogue and place >= 0 else talk.ANYTHING_ELSE
            if place == 0:
                answer = f"{talk.GREETING}{answer.removeprefix('您好，')}"
            await self._command(ticket, "reply", {"text": answer})
            if dialogue is None or place in (-1, len(dialogue.lines) - 1):
                break
            if not await is_set_within(news, shop.pace.real(PATIENCE_S, PATIENCE_REAL_S)):
                break
        await shop.pace.sleep(shop.takes(10, 40))
        note, code = (dialogue.note, dialogue.code) if dialogue else (talk.NOTED, talk.SETTLED)
        await self._resolve(ticket, note, code)

    async def _answer_letter(self, ticket: Json) -> None:
        shop, news = self._shop, self._news[ticket["id"]]
        said = await self._said(ticket)
        letter = talk.BY_LETTER.get(said[0] if said else "")
        if letter is not None and letter.follow_up is not None and len(said) < 2:
            # The writer announced a second one.
            await is_set_within(news, shop.pace.real(600, 2 * PATIENCE_REAL_S))
        await shop.pace.sleep(shop.takes(90, 300))
        replied = await self._command(ticket, "reply", {"text": letter.answer if letter else talk.ANYTHING_ELSE})
        if replied.is_success:
            shop.tally.email_replies += 1
        await self._resolve(ticket, talk.NOTED, letter.code if letter else talk.SETTLED)
        shop.tally.open_letters.discard(ticket["interaction"])

    async def _pass_on(self, ticket: Json, dialogue: Dialogue) -> bool:
        """To the group whose business it is; whoever named no category begins in the first group."""
        await self._shop.pace.sleep(self._shop.takes(10, 30))
        await self._command(ticket, "note", {"text": f"转接：{dialogue.note}"})
        body = {"to": {"group": dialogue.group}, "reason": "属于其他组的业务"}
        passed = await self._command(ticket, "transfer", body)
        self._shop.tally.transfers += passed.is_success
        return passed.is_success

    async def _resolve(self, ticket: Json, note: str, code: str) -> None:
        if self._shop.rng.random() < NOTE_SHARE:
            await self._command(ticket, "note", {"text": note})
        resolved = await self._command(ticket, "resolve", {"text": note, "code": code})
        if resolved.is_success:
            self._shop.tally.resolved[ticket["channel"]].add(ticket["id"])

    async def _said(self, ticket: Json) -> list[str]:
        """What the contact said, the oldest first."""
        found = await self._shop.client.get("routing", f"/v1/tickets/{ticket['id']}/messages", limit=1000)
        return [m["text"] for m in found["items"] if m["from"] == "contact"]

    async def _have_a_break(self) -> None:
        path = f"/v1/agents/{self.agent}/presence"
        await self._act("PUT", path, {"state": "break", "reason": "喝水"})
        await self._shop.pace.sleep(self._shop.takes(120, 300))
        await self._act("PUT", path, {"state": "available"})

    async def _decline(self, offer: str) -> None:
        answer = await self._act("POST", f"/v1/offers/{offer}/decline", {"reason": self._shop.rng.choice(REASONS)})
        self._shop.tally.declined += answer.status_code == HTTPStatus.OK

    def _misses(self) -> bool:
        return self._shop.pace.minute < MISSES_UNTIL_MIN and self._shop.rng.random() < MISS_SHARE

    async def _command(self, ticket: Json, name: str, body: Json) -> httpx.Response:
        return await self._act("POST", f"/v1/tickets/{ticket['id']}/{name}", body)

    async def _act(self, method: str, path: str, body: Json) -> httpx.Response:
        return await self._shop.client.act(self.agent, method, path, body)
