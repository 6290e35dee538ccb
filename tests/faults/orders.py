"""Orders to running services: die at this point, be this broken build. Carried out by `inject/sitecustomize.py`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kefu_local.services import SERVICES

INJECT = Path(__file__).with_name("inject")

IN_BATCHES = ("before_batch_commit", "after_batch_commit", "before_ack", "after_ack")
IN_RELAYS = ("before_send", "before_confirmation", "after_send")
IN_COMMANDS = ("before_commit", "after_commit")
IN_DELIVERIES = ("before_sms", "after_sms", "before_email", "after_email")
POINTS: dict[str, tuple[str, ...]] = {
    "intake": IN_RELAYS,
    "routing": (*IN_BATCHES, *IN_RELAYS, *IN_COMMANDS),
    "notifications": (*IN_BATCHES, *IN_RELAYS, *IN_DELIVERIES),
    "reporting": IN_BATCHES,
}
"""Right before and after every commit, ack and send: where each service can be killed exactly."""


class Orders:
    """A folder for each service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for service in SERVICES:
            (folder / service).mkdir(parents=True)

    def env(self) -> dict[str, dict[str, str]]:
        """What each service's environment needs besides."""
        path = os.pathsep.join(filter(None, (str(INJECT), os.environ.get("PYTHONPATH"))))
        return {s: {"KEFU_TEST_ORDERS": str(self._folder / s), "PYTHONPATH": path} for s in SERVICES}

    def arm(self, service: str, point: str, count: int) -> None:
        """The service will kill itself when it reaches the point for the `count`-th time from now."""
        path = self._folder / service / point
        draft = path.with_suffix(".draft")
        draft.write_text(str(count), encoding="ascii")
        os.replace(draft, path)

    def is_armed(self, service: str, point: str) -> bool:
        """Whether it has not been carried out yet."""
        return (self._folder / service / point).exists()

    @contextmanager
    def build(self, service: str, broken: str | None) -> Iterator[None]:
        """The service is this broken build inside the block; None: a sound one."""
        if broken is None:
            yield
            return
        path = self._folder / service / broken
        path.touch()
        try:
            yield
        finally:
            path.unlink()
