"""What every provider offers, so that the senders need not know which one it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from kefu_notifications.domain.sending import Outcome
from kefu_notifications.domain.texts import Wording


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it is handed over; `id` stays the same over all attempts."""

    id: UUID
    to: str
    wording: Wording
    thread: Sequence[str] = ()
    """Of an e-mail that answers one: the Message-IDs of its thread."""
    is_by_person: bool = False
    """Whether an agent wrote it; whatever else goes out says that a program did."""


class Provider(Protocol):
    """A mail server or an SMS gateway."""

    async def deliver(self, letter: Letter) -> Outcome:
        """Hand it over once. Every error of the provider is an outcome; nothing is raised."""

    async def close(self) -> None:
        """Let go of connections."""
