"""What the sink received: in memory, and in a file of JSON lines so that a restart forgets nothing."""

import json
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

Channel = Literal["email", "sms"]
KEPT = 10_000
REWRITE_AT = 2 * KEPT
"""Lines in the file before those of forgotten messages are cleared out."""


@dataclass(frozen=True)
class Received:
    id: str
    channel: Channel
    to: str
    sender: str
    subject: str
    text: str
    at: str
    idempotency_key: str | None = None

    def shown(self) -> dict[str, str]:
        fields = {name: value for name, value in asdict(self).items() if name not in ("sender", "idempotency_key")}
        return {**fields, "from": self.sender}


class Store:
    """The newest 10,000 messages, oldest first. One process, one event loop."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._messages: deque[Received] = deque(maxlen=KEPT)
        self._by_key: dict[str, Received] = {}
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            self._read()
        self._file = self._rewritten()

    def add(
        self, channel: Channel, *, to: str, sender: str, subject: str, text: str, idempotency_key: str | None = None
    ) -> Received:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        received = Received(uuid.uuid4().hex, channel, to, sender, subject, text, now, idempotency_key)
        self._keep(received)
        self._file.write(_line(received))
        self._file.flush()
        self._lines += 1
        if self._lines >= REWRITE_AT:
            self._rewrite()
        return received

    def with_key(self, idempotency_key: str) -> Received | None:
        return self._by_key.get(idempotency_key)

    def find(self, channel: Channel | None, to: str | None, limit: int) -> list[Received]:
        matching = (
            each
            for each in self._messages
            if (channel is None or each.channel == channel) and (to is None or each.to == to)
        )
        return list(islice(matching, limit))

    def newest(self, limit: int) -> Iterator[Received]:
        return islice(reversed(self._messages), limit)

    def clear(self) -> None:
        self._messages.clear()
        self._by_key.clear()
        self._rewrite()

    def close(self) -> None:
        self._file.close()

    def _keep(self, received: Received) -> None:
        if len(self._messages) == KEPT:
            forgotten = self._messages[0]
            if forgotten.idempotency_key is not None:
                self._by_key.pop(forgotten.idempotency_key, None)
        self._messages.append(received)
        if received.idempotency_key is not None:
            self._by_key[received.idempotency_key] = received

    def _read(self) -> None:
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                # The last line is cut short when the sink was killed while writing.
                with suppress(ValueError, TypeError):
                    self._keep(Received(**json.loads(line)))

    def _rewrite(self) -> None:
        self._file.close()
        self._file = self._rewritten()

    def _rewritten(self) -> TextIO:
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.write_text("".join(_line(each) for each in self._messages), encoding="utf-8")
        draft.replace(self._path)
        self._lines = len(self._messages)
        return self._path.open("a", encoding="utf-8")


def _line(received: Received) -> str:
    return json.dumps(asdict(received), ensure_ascii=False) + "\n"
