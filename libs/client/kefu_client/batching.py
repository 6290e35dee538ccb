"""A bounded buffer that posts events in arrays."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from kefu_client.events import Accepted, Event, GaveUp, Refused

Post = Callable[[Sequence[Event]], Awaitable[list[Accepted | Refused]]]
Waiting = tuple[Event, "asyncio.Future[Accepted]"]


class Batching:
    """Collects what is posted within `max_wait_s` into one array; each `post` waits for its own answer.

    One array is on its way at a time, so that events stay in order. While `max_waiting` wait, `post` waits too.
    """

    def __init__(self, post: Post, *, max_wait_s: float, max_events: int, max_waiting: int) -> None:
        self._post = post
        self._max_wait_s = max_wait_s
        self._max_events = max_events
        self._room = asyncio.Semaphore(max_waiting)
        self._waiting: deque[Waiting] = deque()
        self._unanswered: set[asyncio.Future[Accepted]] = set()
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Batching":
        self._sending = asyncio.create_task(self._send_all(), name="post in arrays")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What waits is sent first, unless an error ends the block."""
        assert self._sending is not None
        while error is None and self._unanswered:
            await asyncio.wait(self._unanswered)
        self._sending.cancel()
        await asyncio.wait([self._sending])
        for answer in list(self._unanswered):
            answer.cancel()

    async def post(self, event: Event) -> Accepted:
        """Post one event with whatever else is posted now. Raises `Refused`, `GaveUp`."""
        async with self._room:
            answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
            self._unanswered.add(answer)
            answer.add_done_callback(self._unanswered.discard)
            self._waiting.append((event, answer))
            self._news.set()
            if len(self._waiting) >= self._max_events:
                self._full.set()
            return await answer

    async def _send_all(self) -> None:
        while True:
            await self._news.wait()
            try:
                async with asyncio.timeout(self._max_wait_s):
                    await self._full.wait()
            except TimeoutError:
                pass
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_events))]
            if not self._waiting:
                self._news.clear()
            if len(self._waiting) < self._max_events:
                self._full.clear()
            await self._send(batch)

    async def _send(self, batch: Sequence[Waiting]) -> None:
        try:
            results = await self._post([event for event, _ in batch])
        except GaveUp as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(GaveUp(str(error)))
            return
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Accepted):
                answer.set_result(result)
            else:
                answer.set_exception(result)
