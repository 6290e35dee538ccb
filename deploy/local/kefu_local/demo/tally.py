"""What the demo itself did, to be compared with what Kefu counted."""

from collections import defaultdict
from dataclasses import dataclass, field

CHANNELS = ("call", "chat", "email", "message")
MEASURES = ("opened", "answered", "abandoned", "refused", "resolved", "messages_left")
"""As the daily report names them."""
Counts = dict[str, dict[str, int]]
"""Measure, then channel."""


def _by_channel() -> defaultdict[str, set[str]]:
    return defaultdict(set)


@dataclass
class Tally:
    """Sets of interactions and tickets, so that repeating anything cannot count twice."""

    opened: defaultdict[str, set[str]] = field(default_factory=_by_channel)
    answered: defaultdict[str, set[str]] = field(default_factory=_by_channel)
    left: defaultdict[str, set[str]] = field(default_factory=_by_channel)
    """Whose contact gave up; not all of them in time to be faster than an agent."""
    refused: defaultdict[str, set[str]] = field(default_factory=_by_channel)
    resolved: defaultdict[str, set[str]] = field(default_factory=_by_channel)
    messages_left: int = 0
    events: int = 0
    commands: int = 0
    repeats: int = 0
    """Requests that were sent again because no answer, or none but 'not now', had come."""
    email_replies: int = 0
    joined: int = 0
    transfers: int = 0
    declined: int = 0
    ratings: list[int] = field(default_factory=list)
    open_letters: set[str] = field(default_factory=set)
    """E-mails that nobody has resolved yet."""

    def counts(self) -> Counts:
        """What the report must have grown by."""
        return {
            "opened": {c: len(self.opened[c]) for c in CHANNELS},
            "answered": {c: len(self.answered[c]) for c in CHANNELS},
            "abandoned": {c: len(self.left[c] - self.answered[c]) for c in CHANNELS},
            "refused": {c: len(self.refused[c]) for c in CHANNELS},
            "resolved": {c: len(self.resolved[c]) for c in CHANNELS},
            "messages_left": {c: self.messages_left if c == "message" else 0 for c in CHANNELS},
        }

    @property
    def sms(self) -> int:
        """One to the administrator for each message left."""
        return self.messages_left

    @property
    def emails(self) -> int:
        """One to the administrator for each message left, and the replies to e-mails."""
        return self.messages_left + self.email_replies
