"""Sending: leased intents out, provider calls outside any transaction, results in. Source: design, section 4."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import Status, StatusCode

from kefu_common.events.words import Medium, Occasion
from kefu_common.postgres.database import Database, passes
from kefu_common.sealing import CannotOpen, Sealer
from kefu_common.telemetry import logs, metrics, tracing
from kefu_common.waking import end, is_set_within
from kefu_notifications.domain.sending import LEASE_S, LONGEST_S, Next, Outcome, Result, after, wait_s
from kefu_notifications.domain.texts import with_link
from kefu_notifications.handlers.provider import Letter, Provider
from kefu_notifications.handlers.taking import Terms, take, wording
from kefu_notifications.store import deliveries, messages
from kefu_notifications.store.messages import Message

log = logs.get(__name__)

_START_WITHIN_S = LEASE_S - 2 * LONGEST_S
"""A message that waited longer for its turn is given back, before its lease can end under it."""
_LOOK_S = 1.0
_STOP_WITHIN_S = 8.0
_RECORDED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Ended:
    message: Message
    outcome: Outcome
    traceparent: str | None


class Sender:
    """Sends the messages of one medium, a bounded number at a time. Media have senders of their own, so that a
    provider that hangs delays only its own messages."""

    def __init__(
        self,
        db: Database,
        medium: Medium,
        provider: Provider,
        terms: Terms,
        sealer: Sealer,
        *,
        at_once: int,
        retry_base_s: float,
        committed: Callable[[], None],
    ) -> None:
        self._db = db
        self._medium = medium
        self._provider = provider
        self._terms = terms
        self._sealer = sealer
        self._at_once = at_once
        self._retry_base_s = retry_base_s
        self._committed = committed
        self._turns = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[_Ended] = []
        self._work = asyncio.Event()
        self._results = asyncio.Event()
        self._taking = asyncio.Lock()
        self._recording = asyncio.Lock()
        self._stopping = False

    def wake(self) -> None:
        """Say that there may be messages to send."""
        self._work.set()

    async def run(self) -> None:
        """Take and send until cancelled or stopped; a database that is away is waited out."""
        pause_s = _LOOK_S
        while not self._stopping:
            self._work.clear()
            try:
                taken = await self._take()
                pause_s = _LOOK_S
            except Exception as error:
                if not passes(error):
                    raise
                log.warning("sender_waits", medium=self._medium.value, error=type(error).__name__)
                taken, pause_s = 0, min(pause_s * 2, 5.0)
            if not taken:
                await is_set_within(self._work, pause_s)

    async def record(self) -> None:
        """Record results, many at a time, until cancelled; a database that is away is waited out."""
        while True:
            await self._results.wait()
            self._results.clear()
            pause_s = 0.1
            while self._ended:
                try:
                    await self._record_some()
                except Exception as error:
                    if not passes(error):
                        raise
                    log.warning("results_wait", medium=self._medium.value, error=type(error).__name__)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, 5.0)

    async def stop(self) -> None:
        """Take no more, give back what has not begun, and let what has begun end and be recorded."""
        self._stopping = True
        self._work.set()
        async with self._taking:
            # What was being taken at this moment is among the running now.
            pass
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_WITHIN_S)
        await end(self._running)
        # What is not recorded stays leased: it will be sent again, and counted.
        if self._ended:
            try:
                async with asyncio.timeout(2):
                    await self._record_some()
            except Exception as error:  # noqa: BLE001 - the process ends anyway, and nothing is lost
                log.warning("results_not_recorded", medium=self._medium.value, error=type(error).__name__)
        await self._provider.close()

    async def _take(self) -> int:
        async with self._taking:
            free = 2 * self._at_once - len(self._running)
            if free <= 0 or self._stopping:
                return 0
            taken = await take(self._db, self._medium, free, self._terms)
            self._committed()
            began = time.monotonic()
            for each in taken:
                task = asyncio.create_task(self._send_in_turn(each, began))
                self._running.add(task)
                task.add_done_callback(self._finished)
            return len(taken)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._work.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease ends by itself, so the message is not lost; but this is a fault of ours.
            # Its text is not logged: it may quote an address.
            log.error("send_failed", medium=self._medium.value, error=type(error).__name__)

    async def _send_in_turn(self, message: Message, began: float) -> None:
        async with self._turns:
            if self._stopping or time.monotonic() - began > _START_WITHIN_S:
                ended = _Ended(message, Outcome(Result.NOT_TRIED), message.traceparent)
            else:
                ended = await self._send(message)
        self._ended.append(ended)
        self._results.set()

    async def _send(self, message: Message) -> _Ended:
        if message.is_open:
            metrics.POSSIBLE_DUPLICATES.labels(self._medium.value).inc()
        span = tracing.start_span(
            f"send {self._medium.value}",
            SpanKind.CLIENT,
            message.traceparent,
            _attributes(message),
        )
        with tracing.in_context(span):
            outcome = await self._deliver(message)
            metrics.SENDS.labels(self._medium.value, outcome.result.value).inc()
            if span is not None and outcome.result is not Result.SENT:
                span.set_status(Status(StatusCode.ERROR, outcome.result.value))
        return _Ended(message, outcome, message.traceparent if span is None else tracing.traceparent_of(span))

    async def _deliver(self, message: Message) -> Outcome:
        try:
            letter = _letter(message, self._sealer)
        except CannotOpen as error:
            log.error("link_not_opened", hint="set KEFU_SEALING_KEYS as in routing", error=str(error))
            return Outcome(Result.RETRY)
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._provider.deliver(letter)
        except TimeoutError:
            return Outcome(Result.UNKNOWN)

    async def _record_some(self) -> None:
        async with self._recording:
            ended = self._ended[:_RECORDED_AT_ONCE]
            now = datetime.now(UTC)
            results = [(each, self._following(each, now)) for each in ended]
            async with self._db.transaction() as tx:
                noted = await messages.record(tx, [(e.message, n, e.outcome.provider_id) for e, n in results])
                told = [
                    replace(e.message, state=n.state, reason=n.reason, traceparent=e.traceparent)
                    for e, n in results
                    if e.message.id in noted and n.state.is_end
                ]
                await deliveries.add(tx, told, now)
            del self._ended[: len(ended)]
        self._committed()

    def _following(self, ended: _Ended, now: datetime) -> Next:
        message = ended.message
        pause_s = wait_s(message.attempts, self._retry_base_s, random.random())  # noqa: S311 - jitter
        following = after(ended.outcome, message.give_up_at, now, pause_s)
        return following if following.was_tried else replace(following, is_open=message.is_open)


def _letter(message: Message, sealer: Sealer) -> Letter:
    assert message.recipient is not None
    is_by_person = message.occasion is Occasion.REPLY
    said = wording(message)
    if message.sealed is not None:
        said = with_link(said, sealer.open_once(message.sealed))
    return Letter(message.id, message.recipient, said, message.thread, is_by_person)


def _attributes(message: Message) -> dict[str, str]:
    named = {"kefu.account": message.account, "kefu.message": str(message.id)}
    return named if message.ticket is None else {**named, "kefu.ticket": str(message.ticket)}
