"""What everybody in the shop shares."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kefu_local.demo.client import Client
from kefu_local.demo.pace import Pace
from kefu_local.demo.tally import Tally


@dataclass
class Shop:
    client: Client
    pace: Pace
    rng: Random
    tally: Tally
    tasks: asyncio.TaskGroup
    """A failure in one of them ends the demo."""
    waiting: set[str] = field(default_factory=set)
    """Interactions whose contact waits for an agent at this moment."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self.tasks.create_task(work)

    def takes(self, at_least_s: float, at_most_s: float) -> float:
        return self.rng.uniform(at_least_s, at_most_s)
