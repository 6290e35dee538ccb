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
_STREAM: Final = "/v1/stream?feed=outbound"


@dataclass(slots=True)
class _Progress:
    """What was received, in order, and what of it is done: the mark may only move over what is done."""

    marks: Marks
    mark: str | None
    done: OrderedDict[str, None]
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

    def finish(self, mark: str) -> None:
        """It is done; the place moves over everything up to the first that is not."""
        self.finished.add(mark)
        if id := self.open[mark]:
            self.done[id] = None
        while len(self.done) > _REMEMBERED:
            self.done.popitem(last=False)
        for first in list(self.open):
            if first not in self.finished:
                break
            self.finished.discard(first)
            del self.open[first]
            self.mark = first
        self.marks.save(Place(self.mark, tuple(self.done)))


async def follow(
    http: httpx.AsyncClient,
    post: Post,
    handle: Handler,
    marks: Marks,
    patience: Patience,
    *,
    at_once: int,
    on_open: Callable[[], None],
) -> None:
    """Follow until cancelled. `handle` is called for each instruction, those of one interaction one after the other.

    - What comes again, also after a restart, is not handled again. Only a crash between `handle` and the saving of its
      mark lets one be handled twice.
    - Nothing is handled after its `expires_at`: it has failed with the reason `expired`. What still runs then is
      cancelled, with the same outcome. An error of `handle` is a failure too.
    - At most `at_once` are handled at the same time; while so many are, nothing more is read.

    Raises:
        Refused: the key may not read the stream.
    """
    place = marks.load()
    progress = _Progress(marks, place.mark, OrderedDict.fromkeys(place.done))
    refused: Refused | None = None
    async with asyncio.TaskGroup() as tasks:
        work = _Work(tasks, post, handle, progress, asyncio.Semaphore(at_once))
        waits = patience.waits()
        while refused is None:
            before = progress.mark
            asked_s = 0.0
            try:
                await _read(http, progress, work, on_open)
            except (httpx.TransportError, SSEError) as error:
                log.info("the stream of instructions ended: %s", type(error).__name__)
            except _NotNow as later:
                asked_s = later.retry_after_s
            except Refused as error:
                refused = error
                continue
            if progress.mark != before:
                waits = patience.waits()
            await asyncio.sleep(max(next(waits), asked_s))
    raise refused


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
            if outcome is not None:
                await self._answer(instruction, outcome)
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

    async def _answer(self, instruction: Instruction, outcome: Outcome) -> None:
        """The same outcome has the same id, so that saying it again changes nothing."""
        data = {"instruction": instruction.id} | ({"reason": outcome.reason} if outcome.reason else {})
        event: Event = {
            "id": f"{instruction.id}.{outcome.type.rpartition('.')[2]}",
            "type": outcome.type,
            "site": instruction.site,
            "interaction": instruction.interaction,
            "occurred_at": datetime.now(UTC).isoformat(),
            "data": data,
        }
        try:
            await self.post(event)
        except (Refused, GaveUp) as error:
            log.error("the outcome of %s was not taken: %s", instruction.type, error)


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
