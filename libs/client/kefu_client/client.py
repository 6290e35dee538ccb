"""The client: posts events until Kefu has them, and follows instructions."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from kefu_client.batching import Batching
from kefu_client.events import Accepted, Attachment, Event, GaveUp, Refused, path_of
from kefu_client.following import Handler, follow
from kefu_client.marks import Marks, MemoryMarks
from kefu_client.sending import Patience, field_errors, refusal, retry_after_s, send
from kefu_client.signing import Signer, Signing

_MOST_EVENTS: Final = 1000
_MOST_BYTES: Final = 7 * 1024 * 1024
"""Kefu takes 8 MiB an array."""
_JSON: Final = {"Content-Type": "application/json"}
_UNCLEAR: Final = frozenset({408, 429})


class Kefu:
    """Kefu as an adapter sees it. `async with Kefu(intake=…, notifications=…, key=…) as kefu:`"""

    def __init__(
        self,
        intake: str,
        notifications: str,
        key: str | None = None,
        *,
        signing: Signing | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        timeout_s: float = 10.0,
        connections: int = 20,
    ) -> None:
        """`key` is sent with each request; a key that signs comes as `signing` instead."""
        if (key is None) == (signing is None):
            raise ValueError("expected either key or signing")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        auth = None if signing is None else Signer(signing)
        limits = httpx.Limits(max_connections=connections)
        self.repeats = 0
        """How often something was sent again for want of a clear answer."""
        self._patience = patience
        self._intake = httpx.AsyncClient(
            base_url=intake, headers=headers, auth=auth, timeout=timeout_s, limits=limits, trust_env=False
        )
        self._notifications = httpx.AsyncClient(
            base_url=notifications, headers=headers, auth=auth, timeout=timeout_s, trust_env=False
        )

    async def __aenter__(self) -> "Kefu":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._intake.aclose()
        await self._notifications.aclose()

    async def post(self, event: Event, *, traceparent: str | None = None) -> Accepted:
        """Post one event, as often as it takes. Raises `Refused`, `GaveUp`."""
        headers = _JSON | ({"traceparent": traceparent} if traceparent else {})
        answer = await send(self._intake, path_of(event), _bytes(event), headers, self._patience, self._count)
        return _accepted(answer)

    async def post_many(self, events: Sequence[Event]) -> list[Accepted | Refused]:
        """Post events in arrays; what became of each, in order. Events of one interaction stay in order.

        Raises:
            GaveUp: some have no clear answer yet.
        """
        results: dict[int, Accepted | Refused] = {}
        for path, numbers in _in_order(events, results):
            for array in _arrays([(number, _bytes(events[number])) for number in numbers]):
                await self._post_array(path, array, events, results)
        return [results[number] for number in range(len(events))]

    def batching(self, *, max_wait_s: float = 0.05, max_events: int = 500, max_waiting: int = 10_000) -> Batching:
        """A buffer in front of `post_many`, for adapters that post much: `async with kefu.batching() as batch:`"""
        return Batching(self.post_many, max_wait_s=max_wait_s, max_events=max_events, max_waiting=max_waiting)

    async def upload(
        self, content: bytes, content_type: str = "application/octet-stream", name: str | None = None
    ) -> Attachment:
        """Store a file, to name its `ref` in an event. Raises `Refused`, `GaveUp`."""
        query = f"?{urlencode({'name': name})}" if name else ""
        headers = {"Content-Type": content_type}
        answer = await send(self._intake, f"/v1/attachments{query}", content, headers, self._patience, self._count)
        body = answer.json()
        return Attachment(body["ref"], body["type"], body["size"], body["sha256"])

    async def post_mail(self, raw: bytes, site: str) -> Accepted:
        """Post an e-mail as it came. Raises `Refused`, `GaveUp`."""
        headers = {"Content-Type": "message/rfc822"}
        path = f"/v1/emails/raw?{urlencode({'site': site})}"
        return _accepted(await send(self._intake, path, raw, headers, self._patience, self._count))

    async def follow(
        self,
        handle: Handler,
        marks: Marks | None = None,
        *,
        at_once: int = 100,
        on_open: Callable[[], None] = lambda: None,
        ending: asyncio.Event | None = None,
    ) -> None:
        """Follow instructions: `handle` does each and says what became of it. See `following.follow` for the promises.

        `on_open` is called whenever the stream is open: without a mark, what was said before is not heard. Until
        cancelled, or `ending` is set: then nothing new is taken, and what is in hand is still answered.
        """
        await follow(
            self._notifications,
            self.post,
            handle,
            marks or MemoryMarks(),
            self._patience,
            at_once=at_once,
            on_open=on_open,
            ending=ending or asyncio.Event(),
        )

    def _count(self) -> None:
        self.repeats += 1

    async def _post_array(
        self,
        path: str,
        array: list[tuple[int, bytes]],
        events: Sequence[Event],
        results: dict[int, Accepted | Refused],
    ) -> None:
        """Until each item has its answer. Only what has none is sent again, and what follows it in its interaction."""
        deadline = time.monotonic() + self._patience.give_up_after_s
        waiting = array
        for wait_s in self._patience.waits():
            body = b"[" + b",".join(content for _, content in waiting) + b"]"
            again_s = wait_s
            try:
                answer = await send(self._intake, path, body, _JSON, self._patience, self._count)
            except Refused as refused:
                # Of the array as a whole, such as a key that was revoked.
                results.update({number: refused for number, _ in waiting})
                return
            unclear: set[str] = set()
            left = []
            for (number, content), item in zip(waiting, answer.json()["items"], strict=True):
                interaction = events[number]["interaction"]
                result = _result(item)
                if result is None:
                    unclear.add(interaction)
                if result is None or interaction in unclear:
                    # What was taken ahead of an earlier one is sent again behind it, which changes nothing.
                    left.append((number, content))
                else:
                    results[number] = result
            if not left:
                return
            waiting = left
            again_s = max(again_s, retry_after_s(answer))
            if time.monotonic() + again_s > deadline:
                break
            await asyncio.sleep(again_s)
            self._count()
        raise GaveUp(f"{path}: {len(waiting)} events have no clear answer")


def _in_order(events: Sequence[Event], results: dict[int, Accepted | Refused]) -> list[tuple[str, list[int]]]:
    """Paths and the events to post there: in few arrays, and yet no interaction's rating goes before its chat."""
    rounds: dict[tuple[int, str], list[int]] = {}
    last: dict[str, tuple[int, str]] = {}
    for number, event in enumerate(events):
        try:
            path = path_of(event)
        except Refused as refused:
            results[number] = refused
            continue
        before, before_path = last.get(event["interaction"], (0, path))
        place = (before + (path != before_path), path)
        last[event["interaction"]] = place
        rounds.setdefault(place, []).append(number)
    return [(path, numbers) for (_, path), numbers in sorted(rounds.items(), key=lambda item: item[0][0])]


def _result(item: dict[str, Any]) -> Accepted | Refused | None:
    """None: no clear answer."""
    status = item["status"]
    if status < 300:
        return Accepted(item["id"], item["event"])
    if status >= 500 or status in _UNCLEAR:
        return None
    return Refused(status, "refused", field_errors(item))


def _accepted(answer: httpx.Response) -> Accepted:
    if answer.status_code != 202:
        raise refusal(answer)
    body = answer.json()
    return Accepted(body["id"], body["event"])


def _arrays(contents: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    array: list[tuple[int, bytes]] = []
    size = 2
    for number, content in contents:
        if array and (len(array) == _MOST_EVENTS or size + len(content) + 1 > _MOST_BYTES):
            yield array
            array, size = [], 2
        array.append((number, content))
        size += len(content) + 1
    if array:
        yield array


def _bytes(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
