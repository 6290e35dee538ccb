"""How far the stream of instructions was followed: kept, so that a restart goes on there."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kefu_client.events import Event


@dataclass(frozen=True, slots=True)
class Place:
    """The mark to resume from, and instructions behind it that are done already."""

    mark: str | None = None
    done: Sequence[str] = ()
    untold: Sequence[Event] = ()
    """Outcomes that Kefu may not have yet: told again, word for word, after a restart."""


class Marks(Protocol):
    """Where the place is kept."""

    def load(self) -> Place:
        """What was saved last; an empty place at first."""

    def save(self, place: Place) -> None:
        """Keep it."""


class MemoryMarks:
    """For as long as the process lives."""

    def __init__(self) -> None:
        self._place = Place()

    def load(self) -> Place:
        """What was saved last."""
        return self._place

    def save(self, place: Place) -> None:
        """Keep it."""
        self._place = place


class FileMarks:
    """In a file, which always holds a whole place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Place:
        """What was saved last. Raises `ValueError` for a file that something else wrote."""
        try:
            saved = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Place()
        return Place(saved["mark"], tuple(saved["done"]), tuple(saved["untold"]))

    def save(self, place: Place) -> None:
        """Keep it."""
        draft = self._path.with_name(f".{self._path.name}.draft")
        saved = {"mark": place.mark, "done": list(place.done), "untold": list(place.untold)}
        draft.write_text(json.dumps(saved), encoding="utf-8")
        os.replace(draft, self._path)
