"""What a supervisor knows about one child, and the child's log file."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kefu_local.probes import Probe
from kefu_local.processes import Account

LOG_LIMIT_BYTES = 64 * 2**20


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """It died, and will be started again."""
    FAILING = "failing"
    """It died again and again; it is still tried, with long waits."""
    HALTED = "halted"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ChildSpec:
    """A program to keep alive. `env` is its whole environment; `is_ready` is asked until it says yes, once per life."""

    name: str
    argv: tuple[str, ...]
    log: Path
    is_ready: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    account: Account | None = None
    layer: int = 0
    """Children of a higher layer lean on those of a lower one and are stopped before them."""
    stop_signal: int = signal.SIGTERM
    stop_within_s: float = 20.0
    death_signal: int = signal.SIGKILL
    """What it gets when the supervisor itself was killed (Linux only)."""
    remedy: str = "The end of that file names the cause."
    """One sentence that says what most likely helps when it keeps dying."""
    where: str = ""
    """Its address, for people."""


class Child:
    """Read `pid` and `state` freely; only its supervisor changes them."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.process: asyncio.subprocess.Process | None = None
        self.keeper: asyncio.Task[None] | None = None
        self.wanted = True
        self.lives = 0
        """How often it became ready."""
        self.began: str | None = None
        self.exit_code: int | None = None
        self.died = asyncio.Event()
        self.awaited = 0
        """How many wait for it to become ready; they are told what is wrong."""
        self.forget()

    def forget(self) -> None:
        """Starts counting deaths and waits from nought."""
        self.settled = asyncio.Event()
        self.unwanted = asyncio.Event()
        self.deaths: list[float] = []
        self.reported = False
        self.wait_s = 0.0
        self.born = 0.0
        self.ready_since: float | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def was_steady(self, now: float, steady_s: float) -> bool:
        return self.ready_since is not None and now - self.ready_since >= steady_s


def keep_previous(log: Path) -> None:
    """At a start: the last run's log becomes `.1`, and what was `.1` is gone."""
    if log.exists():
        os.replace(log, log.with_name(f"{log.name}.1"))


def truncate_copy(log: Path, limit_bytes: int) -> None:
    """Bounds a log that a child holds open for appending: a copy of it becomes `.1`, and it begins anew."""
    try:
        if log.stat().st_size > limit_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
    except OSError as error:
        print(f"Cannot bound {log}: {error.strerror}", file=sys.stderr)
