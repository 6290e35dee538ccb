"""Following a feed of server-sent events, through breaks, from the last mark on."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable

import httpx

from kefu_local.demo.client import Client, Json, KefuRefused

AGAIN_AFTER_S = 0.3
SILENCE_S = 40.0
"""Kefu says something every 15 s."""
REMEMBERED = 20_000


class Feed:
    """Gives each event once, in the order in which it came. `missed` is called when a mark is no longer held."""

    def __init__(
        self, client: Client, name: str, key: str, take: Callable[[Json], None], missed: Callable[[], None]
    ) -> None:
        self._client, self._name, self._key = client, name, key
        self._take, self._missed = take, missed
        self._mark = ""
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.opened = asyncio.Event()

    async def follow(self) -> None:
        """Until cancelled. Raises KefuRefused."""
        while True:
            try:
                await self._read()
            except httpx.TransportError:
                self._client.tally.repeats += 1
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _read(self) -> None:
        stack = self._client.stack
        headers = {"Authorization": f"Bearer {stack['keys'][self._key]}"}
        if self._mark:
            headers["Last-Event-ID"] = self._mark
        url = f"{stack['services']['notifications']}/v1/stream?feed={self._name}"
        timeout = httpx.Timeout(10, read=SILENCE_S)
        async with self._client.http.stream("GET", url, headers=headers, timeout=timeout) as answer:
            if answer.status_code == 410:
                self._mark = ""
                self._missed()
            elif answer.is_success:
                await self._lines(answer)
            elif answer.status_code < 500 and answer.status_code != 429:
                raise KefuRefused(f"Kefu refuses the feed {self._name}: {answer.status_code}")

    async def _lines(self, answer: httpx.Response) -> None:
        mark = self._mark
        async for line in answer.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "id":
                mark = value
            elif field == "data":
                self._once(json.loads(value))
            elif not line:
                self._mark = mark
                self.opened.set()

    def _once(self, event: Json) -> None:
        if event["id"] in self._seen:
            return
        self._seen[event["id"]] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._take(event)
