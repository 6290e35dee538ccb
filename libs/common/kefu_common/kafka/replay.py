"""Replaying dead letters: in order per key, each once, until nothing of the key waits."""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID

import asyncpg
from pydantic_core import from_json

from kefu_common.kafka import dead_letters as letters
from kefu_common.kafka.dead_letters import Place
from kefu_common.kafka.producer import EventProducer, Outgoing
from kefu_common.kafka.topics import DEAD_LETTERS_KEPT_DAYS, largest_record
from kefu_common.settings import DatabaseSettings

_LOOK_S = 0.2
_KNOWN_TO_THE_INBOX = frozenset({"id_reused"})


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that knows where it came from."""

    reason: str
    topic: str
    place: Place
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Replay:
    """One run of `kefu dead-letters replay`. The consumer strikes out what it has applied; this only publishes."""

    def __init__(self, settings: DatabaseSettings, reasons: frozenset[str]) -> None:
        self._settings = settings
        self._reasons = reasons
        self._producer = EventProducer(settings.kafka, "kefu.dead-letters")
        self._waiting: set[tuple[str, Place]] = set()
        self._done: set[tuple[str, Place]] = set()

    async def __aenter__(self) -> Self:
        """Connect."""
        dsn = self._settings.postgres.get_secret_value()
        self._connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn, timeout=10)
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._producer.stop()
        await self._connection.close()

    @property
    def published(self) -> int:
        """How many letters have been published again."""
        return len(self._done)

    async def look(self) -> None:
        """Ask what waits. What is older than any letter can never be replayed, and must not hold back its key."""
        await self._connection.execute(
            "delete from set_aside_events where since < now() - make_interval(days => $1)", DEAD_LETTERS_KEPT_DAYS
        )
        self._waiting = await self._places()

    async def take(self, letter: Letter) -> None:
        """Publish the letter to its topic if it is of the wanted reasons, still waits, and was not published yet."""
        at = (letter.topic, letter.place)
        holds_back = letter.reason in letters.HOLDING_BACK
        if letter.reason not in self._reasons or at in self._done or (holds_back and at not in self._waiting):
            return
        if not holds_back and letter.reason not in _KNOWN_TO_THE_INBOX:
            await self._forget_in_inbox(letter)
        topic = self._settings.topic_prefix + letter.topic
        mark = (letters.REPLAYED, letters.replayed_mark(letter.place))
        # The mark may make it a little larger than what its topic takes from others.
        at_most = largest_record(letter.topic) + 256
        again = Outgoing(topic, letter.key, letter.value, (*letter.headers, mark), at_most)
        await self._producer.send([again], 10)
        self._done.add(at)

    async def wait_until_applied(self, wait_s: float) -> bool:
        """Whether the service strikes out all that was published; gives up when for so long none was."""
        left, since = -1, time.monotonic()
        while time.monotonic() - since < wait_s:
            now_left = len(await self._places() & self._done)
            if now_left == 0:
                return True
            if now_left != left:
                left, since = now_left, time.monotonic()
            await asyncio.sleep(_LOOK_S)
        return False

    async def still_waiting(self) -> int:
        """How many events wait now."""
        return len(await self._places())

    async def _places(self) -> set[tuple[str, Place]]:
        rows = await self._connection.fetch('select topic, partition, "offset" from set_aside_events')
        return {(row["topic"], (row["partition"], row["offset"])) for row in rows}

    async def _forget_in_inbox(self, letter: Letter) -> None:
        """What a service set aside by a rule of its own is in its inbox, without any effect: let it be judged anew.

        After a replay that did take effect, it is there without that mark, and this changes nothing.
        """
        try:
            event = UUID(from_json(letter.value)["id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        await self._connection.execute("delete from inbox where event = $1 and is_set_aside", event)
