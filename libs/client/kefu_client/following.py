"""Following instructions: resumed where it ended, each done once and in time, each answered."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import httpx
from httpx_sse import SSEError, aconnect_sse

from kefu_client.events import Accepted, Event, GaveUp, Refused
from kefu_client.instructions import Failed, Instruction, NotAnInstruction, Outcome, read_instruction
from kefu_client.marks import Marks, Place
from kefu_client.sending import Patience, refusal, retry_after_s

log = logging.getLogger(__name__)

Handler = Callable[[Instruction], Awaitable[Outcome | None]]
"""Does an instruction, and says what became of it; None says that the adapter will post that itself."""
Post = Callable[[Event], Awaitable[Accepted]]

SILENCE_S: Final = 45.0
"""Kefu sends a line at least every 15 s."""
EXPIRED: Final = "expired"
_REMEMBERED: Final = 10_000
_KEPT: Final = 500
"""Of these so many are saved with each mark: what comes again comes soon."""
_STREAM: Final = "/v1/stream?feed=outbound"


@dataclass(slots=True)
class _Progress:
    """What was received, in order, and what of it is done: the mark may only move over what is done."""

    marks: Marks
    mark: str | None
    done: OrderedDict[str, None]
    untold: dict[str, Event]
    open: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Marks received and not yet passed, by the instruction that came with each; in order."""
    finished: set[str] = field(default_factory=set)

    def receive(self, mark: str, id: str) -> None:
        """It came."""
        self.open[mark] = id

    def pass_over(self, mark: str) -> None:
        """A mark with nothing to do came."""
        self.open.setdefault(mark, "")
        self.finish(mark)

    def did(self, id: str, outcome: Event | None) -> None:
        """It was handled, and is not again, whatever happens from now on; its outcome is still to be told."""
        self.done[id] = None
        while len(self.done) > _REMEMBERED:
            self.done.popitem(last=False)
        if outcome is not None:
            self.untold[id] = outcome
        self._save()

    def told(self, id: str) -> None:
        """Kefu has its outcome."""
        self.untold.pop(id, None)

    def finish(self, mark: str) -> None:
        """Nothing is left to do for it; the place moves over everything up to the first of which that is not so."""
        self.finished.add(mark)
        for first in list(self.open):
            if first not in self.finished:
                break
            self.finished.discard(first)
            del self.open[first]
            self.mark = first
        self._save()

    def _save(self) -> None:
        self.marks.save(Place(self.mark, tuple(self.done)[-_KEPT:], tuple(self.untold.values())))


async def follow(
    http: httpx.AsyncClient,
    post: Post,
    handle: Handler,
    marks: Marks,
    patience: Patience,
    *,
    at_once: int,
    on_open: Callable[[], None],
    ending: asyncio.Event,
) -> None:
    """Follow until cancelled, or until `ending` is set: then what is in hand is still answered.

    `handle` is called for each instruction, for those of one interaction one after the other: one that waits, such as a
    ring for somebody to pick up, holds back what follows, such as its cancellation.

    - What comes again, also after a restart, is not handled again, and its outcome is told again word for word. Only a
      crash within `handle` lets one be handled twice.
    - Nothing is handled after its `expires_at`: it has failed with the reason `expired`. What still runs then is
      cancelled, with the same outcome. An error of `handle` is a failure too.
    - At most `at_once` are handled at the same time; while so many are, nothing more is read.

    Raises:
        Refused: the key may not read the stream.
    """
    place = marks.load()
    untold = {str((event["data"] or {})["instruction"]): event for event in place.untold}
    progress = _Progress(marks, place.mark, OrderedDict.fromkeys(place.done), untold)
    async with asyncio.TaskGroup() as tasks:
        work = _Work(tasks, post, handle, progress, asyncio.Semaphore(at_once))
        for id, event in untold.items():
            tasks.create_task(work.tell(id, event))
        reading = tasks.create_task(_read_on(http, progress, work, patience, on_open))
        ended = tasks.create_task(ending.wait())
        await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        ended.cancel()
    if not reading.cancelled():
        raise reading.result()


async def _read_on(
    http: httpx.AsyncClient, progress: _Progress, work: "_Work", patience: Patience, on_open: Callable[[], None]
) -> Refused:
    """One connection after the other, until the key may not read any more: why."""
    waits = patience.waits()
    while True:
        before = progress.mark
        asked_s = 0.0
        try:
            await _read(http, progress, work, on_open)
        except (httpx.TransportError, SSEError) as error:
            log.info("the stream of instructions ended: %s", type(error).__name__)
        except _NotNow as later:
            asked_s = later.retry_after_s
        except Refused as refused:
            return refused
        if progress.mark != before:
            waits = patience.waits()
        await asyncio.sleep(max(next(waits), asked_s))


class _NotNow(Exception):
    """The server asks to come again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Work:
    """Handling what was read."""

    tasks: asyncio.TaskGroup
    post: Post
    handle: Handler
    progress: _Progress
    room: asyncio.Semaphore
    in_hand: set[str] = field(default_factory=set)
    last: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The latest task of each interaction, after which the next one goes."""

    async def take(self, mark: str, instruction: Instruction) -> None:
        """Begin to handle it, as soon as there is room."""
        if mark in self.progress.open:
            return  # a new connection begins again behind the place, and brings what is in hand
        if instruction.id in self.in_hand:
            self.progress.pass_over(mark)  # once more while it is being handled, whose own mark is still open
            return
        self.progress.receive(mark, instruction.id)
        if instruction.id in self.progress.done:
            self.progress.finish(mark)
            return
        await self.room.acquire()
        self.in_hand.add(instruction.id)
        before = self.last.get(instruction.interaction)
        task = self.tasks.create_task(self._handle(mark, instruction, before))
        self.last[instruction.interaction] = task
        task.add_done_callback(lambda ended: self._forget(instruction.interaction, ended))

    def _forget(self, interaction: str, ended: "asyncio.Task[None]") -> None:
        if self.last.get(interaction) is ended:
            del self.last[interaction]

    async def _handle(self, mark: str, instruction: Instruction, before: "asyncio.Task[None] | None") -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            outcome = await self._outcome(instruction)
            event = None if outcome is None else _event_of(instruction, outcome)
            self.progress.did(instruction.id, event)
            if event is not None:
                await self.tell(instruction.id, event)
            self.progress.finish(mark)
        finally:
            self.in_hand.discard(instruction.id)
            self.room.release()

    async def _outcome(self, instruction: Instruction) -> Outcome | None:
        left_s = (instruction.expires_at - datetime.now(UTC)).total_seconds()
        if left_s <= 0:
            return Failed(EXPIRED)
        try:
            async with asyncio.timeout(left_s) as limit:
                return await self.handle(instruction)
        except TimeoutError:
            if not limit.expired():
                return Failed("TimeoutError")
            return Failed(EXPIRED)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the next instruction must still be done
            # Its message may quote what a customer said.
            log.error("handling %s failed: %s", instruction.type, type(error).__name__)
            return Failed(type(error).__name__)

    async def tell(self, id: str, event: Event) -> None:
        """Post an outcome."""
        try:
            await self.post(event)
        except (Refused, GaveUp) as error:
            log.error("the outcome %s was not taken: %s", event["type"], error)
        self.progress.told(id)


def _event_of(instruction: Instruction, outcome: Outcome) -> Event:
    """The same outcome has the same id, so that saying it again changes nothing."""
    data = {"instruction": instruction.id} | ({"reason": outcome.reason} if outcome.reason else {})
    return {
        "id": f"{instruction.id}.{outcome.type.rpartition('.')[2]}",
        "type": outcome.type,
        "site": instruction.site,
        "interaction": instruction.interaction,
        "occurred_at": datetime.now(UTC).isoformat(),
        "data": data,
    }


async def _read(http: httpx.AsyncClient, progress: _Progress, work: _Work, on_open: Callable[[], None]) -> None:
    """One connection, to its end."""
    # What is in hand comes again, and is known; the mark alone says where to go on.
    headers = {} if progress.mark is None else {"Last-Event-ID": progress.mark}
    timeout = httpx.Timeout(10.0, read=SILENCE_S)
    async with aconnect_sse(http, "GET", _STREAM, headers=headers, timeout=timeout) as source:
        answer = source.response
        if answer.status_code == 410:
            log.warning("the stream no longer holds the mark %s: instructions in between are lost", progress.mark)
            progress.mark = None
            return
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise _NotNow(retry_after_s(answer))
        if not answer.is_success:
            await answer.aread()
            raise refusal(answer)
        on_open()
        async for frame in source.aiter_sse():
            if not frame.id:
                continue
            if not frame.data:
                if frame.id not in progress.open:
                    progress.pass_over(frame.id)
                continue
            try:
                instruction = read_instruction(frame.json())
            except (NotAnInstruction, ValueError) as error:
                log.warning("something on the stream is no instruction: %s", error)
                progress.pass_over(frame.id)
                continue
            await work.take(frame.id, instruction)
