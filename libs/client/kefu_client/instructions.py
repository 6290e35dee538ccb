"""What Kefu asks an adapter to do, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

PREFIX: Final = "kefu."


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Its `id` is the same whenever it comes again; nothing may be done after `expires_at`."""

    id: str
    type: str
    """Without `kefu.`: `call.ring`, `chat.say`, `chat.position`, … Only `chat.invite` is about no ticket."""
    site: str
    interaction: str
    time: datetime
    expires_at: datetime
    data: Mapping[str, Any]
    traceparent: str | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it is too late to do it."""
        return now >= self.expires_at


@dataclass(frozen=True, slots=True)
class Done:
    """The adapter did it."""

    type: str = "instruction.done"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The adapter could not do it; `reason` says why, for the agent."""

    reason: str | None
    type: str = "instruction.failed"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was said is on the contact's device."""

    type: str = "instruction.delivered"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """The contact has seen it."""

    type: str = "instruction.read"
    reason: str | None = None


Outcome = Done | Failed | Delivered | Read


class NotAnInstruction(Exception):
    """A frame of the stream that this client cannot read."""


def read_instruction(event: Mapping[str, Any]) -> Instruction:
    """An instruction from a CloudEvent. Raises `NotAnInstruction`."""
    try:
        data = dict(event["data"])
        return Instruction(
            id=str(event["id"]),
            type=str(event["type"]).removeprefix(PREFIX),
            site=str(event["source"]).removeprefix("/sites/"),
            interaction=str(event["subject"]),
            time=_instant(event["time"]),
            expires_at=_instant(data["expires_at"]),
            data=data,
            traceparent=event.get("traceparent"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotAnInstruction(type(error).__name__) from None


def _instant(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:
        raise ValueError("no time zone")
    return read
