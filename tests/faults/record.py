"""What the clients of a load did and saw: every request with all of its answers, and every event of the streams."""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tests.e2e.kefu import Json


class Story(StrEnum):
    """How an interaction goes."""

    CHAT = "chat"
    EMAIL = "email"
    MESSAGE = "message"
    CALL = "call"
    HANG_UP = "hang_up"
    """A call that ends before anybody answers."""
    REFUSED = "refused"
    """A chat on a closed site."""
    KEPT = "kept"
    """A message left on a closed site: queued for good."""

    @property
    def is_handled(self) -> bool:
        """Whether an agent takes it and resolves it."""
        return self in (Story.CHAT, Story.EMAIL, Story.MESSAGE, Story.CALL)

    @property
    def is_message(self) -> bool:
        """Whether it is a message left."""
        return self in (Story.MESSAGE, Story.KEPT)


@dataclass(slots=True)
class Posted:
    """One event of an adapter: fixed id and body, posted until it was answered 202."""

    body: Json
    answers: list[int | str] = field(default_factory=list)
    """Statuses, and names of connection errors."""
    events: set[str] = field(default_factory=set)
    """The CloudEvents ids that 202s named."""

    @property
    def is_accepted(self) -> bool:
        """Whether a 202 came."""
        return 202 in self.answers


@dataclass(slots=True)
class Commanded:
    """One command of an agent, repeated until it was decided."""

    agent: str
    path: str
    body: Json
    answers: list[int | str] = field(default_factory=list)
    answer: Json = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it was answered 200."""
        return 200 in self.answers


@dataclass
class Record:
    """One load. Texts are unique, so that each effect can be traced to its request."""

    run: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    stories: dict[str, Story] = field(default_factory=dict)
    posts: dict[str, list[Posted]] = field(default_factory=dict)
    """By interaction, in the order in which they were posted."""
    commands: list[Commanded] = field(default_factory=list)
    replies: dict[str, list[Commanded]] = field(default_factory=dict)
    """By ticket, in the order in which they were written."""
    instructions: list[Json] = field(default_factory=list)
    """Of the outbound stream, as they came."""
    events: list[Json] = field(default_factory=list)
    """Of the tickets stream, as they came."""
    complaints: list[str] = field(default_factory=list)
    """Answers that no client should ever get."""

    def count(self) -> Counter[Story]:
        """How many interactions of each story there are."""
        return Counter(self.stories.values())

    def summary(self) -> str:
        """One line for people."""
        posts = [p for of in self.posts.values() for p in of]
        tries = sum(len(p.answers) for p in posts)
        return (
            f"{len(self.stories)} interactions, {len(posts)} events in {tries} posts, {len(self.commands)} commands"
            f" in {sum(len(c.answers) for c in self.commands)} tries, {len(self.instructions)} instructions"
        )
