"""Clients that lose nothing: they repeat until they know, record every answer, and resume their streams."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import httpx

from kefu_local.stack import StackFile
from tests.e2e.kefu import Json

KNOWN_WITHIN_S = 150.0
"""How long a client goes on asking."""


class Clients:
    """What all clients of one load share: connections and addresses."""

    def __init__(self, stack: StackFile) -> None:
        self.urls = stack["services"]
        self.keys = stack["keys"]
        self.http = httpx.AsyncClient(
            timeout=httpx.Timeout(12, connect=5), limits=httpx.Limits(max_connections=100), trust_env=False
        )

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def until_known(
        self, url: str, body: Json, headers: Mapping[str, str], answers: list[int | str], known: tuple[int, ...]
    ) -> httpx.Response:
        """Post the same again and again until the answer is one of `known`; every answer is recorded."""
        async with asyncio.timeout(KNOWN_WITHIN_S):
            while True:
                try:
                    answer = await self.http.post(url, json=body, headers=headers)
                except httpx.TransportError as error:
                    answers.append(type(error).__name__)
                else:
                    answers.append(answer.status_code)
                    if answer.status_code in known:
                        return answer
                await asyncio.sleep(random.uniform(0.1, 0.4))

    async def follow(
        self, feed: str, key: str, take: Callable[[Json], None], opened: asyncio.Event, complaints: list[str]
    ) -> None:
        """Read a feed until cancelled, resuming with the last mark after every break."""
        url = f"{self.urls['notifications']}/v1/stream?feed={feed}"
        mark: str | None = None
        while True:
            headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": mark} if mark else {})
            with suppress(httpx.TransportError):
                async with self.http.stream("GET", url, headers=headers, timeout=httpx.Timeout(30)) as answer:
                    if answer.status_code not in (200, 503):
                        complaints.append(f"stream {feed} after {mark}: {answer.status_code}")
                    elif answer.status_code == 200:
                        async for given in _frames(answer):
                            mark = given.get("id", mark)
                            opened.set()
                            if "data" in given:
                                take(json.loads(given["data"]))
            await asyncio.sleep(0.2)


async def _frames(answer: httpx.Response) -> Any:
    frame: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            # A frame without its end was cut off, and does not count.
            yield frame
            frame = {}
        else:
            name, _, value = line.partition(": ")
            frame[name] = value
