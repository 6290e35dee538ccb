"""Kefu as an adapter and an agent's desk see it. Whatever fails for a moment is sent again, with the same id."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from kefu_client import Event, GaveUp, Kefu, Refused
from kefu_client.sending import Patience
from kefu_local.demo.tally import Tally
from kefu_local.errors import LocalError
from kefu_local.stack import StackFile

Json = dict[str, Any]

GIVE_UP_AFTER_S = 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
AT_ONCE = 24
"""Requests at the same time, so that a high speed cannot drown the machine."""


class KefuAway(LocalError):
    """It did not answer for a long time."""


class KefuRefused(LocalError):
    """It does not want what the demo sends: the two do not fit together."""


class Client:
    """Two keys: the adapter's to post with, the administrator's to act for agents."""

    def __init__(self, stack: StackFile, run: str, tally: Tally) -> None:
        self.stack = stack
        self.run = run
        self.tally = tally
        self.http = httpx.AsyncClient(timeout=10, trust_env=False, limits=httpx.Limits(max_connections=AT_ONCE + 4))
        self.kefu = Kefu(
            stack["services"]["intake"],
            stack["services"]["notifications"],
            stack["keys"]["adapter"],
            patience=Patience(GIVE_UP_AFTER_S, FIRST_WAIT_S, LONGEST_WAIT_S),
        )
        """The adapter's side; everything else is an agent's desk, or looks from outside."""
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._urls = {**stack["services"], "sink": stack["sink"]}
        self._number = 0

    def name(self, kind: str) -> str:
        """An id that no other run uses."""
        self._number += 1
        return f"demo-{kind}-{self.run}-{self._number}"

    async def post(
        self, type_: str, interaction: str, site: str = "shop", *, traceparent: str | None = None, **fields: Any
    ) -> None:
        """One event; returns when Kefu has answered for it. Raises KefuAway, KefuRefused."""
        event: Event = {
            "id": self.name("e"),
            "type": type_,
            "site": site,
            "interaction": interaction,
            "occurred_at": datetime.now(UTC).isoformat(),
        }
        event.update({name: value for name, value in fields.items() if value is not None})  # type: ignore[typeddict-item]
        try:
            async with self._at_once:
                await self.kefu.post(event, traceparent=traceparent)
        except GaveUp as error:
            raise KefuAway(f"intake has not answered, see `make status`: {error}") from None
        except Refused as error:
            raise KefuRefused(f"Kefu does not take {type_}: {error}") from None
        self.tally.events += 1

    async def act(self, agent: str, method: str, path: str, body: Json) -> httpx.Response:
        """A command of an agent. `409` is an answer like any other: somebody was faster."""
        headers = {"Kefu-Agent": agent, "Idempotency-Key": str(uuid4())}
        answer = await self.send("routing", method, path, body=body, headers=headers)
        if not answer.is_success and answer.status_code != 409:
            raise KefuRefused(f"Kefu refuses {method} {path} of {agent}: {answer.status_code} {answer.text[:300]}")
        self.tally.commands += 1
        return answer

    async def get(self, service: str, path: str, **query: str | int) -> Json:
        answer = await self.send(service, "GET", path, query=query)
        if not answer.is_success:
            raise KefuRefused(f"Kefu refuses GET {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    async def send(
        self,
        service: str,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        key: str = "admin",
        query: dict[str, str | int] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """The first answer that is one; 'not now' (429, 5xx) and broken connections are tried again."""
        sent = {"Authorization": f"Bearer {self.stack['keys'][key]}", **(headers or {})}
        url = f"{self._urls[service]}{path}"
        deadline, wait_s = time.monotonic() + GIVE_UP_AFTER_S, FIRST_WAIT_S
        while True:
            try:
                async with self._at_once:
                    answer = await self.http.request(method, url, json=body, params=query, headers=sent)
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
                problem = f"{answer.status_code} {answer.text[:200]}"
            if time.monotonic() > deadline:
                raise KefuAway(f"{service} has not answered for {GIVE_UP_AFTER_S:.0f} s, see `make status`: {problem}")
            self.tally.repeats += 1
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
