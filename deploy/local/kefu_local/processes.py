"""Processes as the operating system sees them: starting one that cannot outlive us, and ending leftovers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CHILD_SCRIPT = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Account:
    """A user of the operating system that a child runs as."""

    name: str
    uid: int
    gid: int


async def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    account: Account | None = None,
    death_signal: int = signal.SIGKILL,
) -> asyncio.subprocess.Process:
    """Starts a program in a session of its own, so that Ctrl-C does not reach it; output is appended to the log.

    On Linux it gets `death_signal` when this process (strictly: the calling thread) dies.
    """
    user = (str(account.uid), str(account.gid)) if account else ("-", "-")
    wrapper = (sys.executable, "-I", "-S", str(CHILD_SCRIPT), str(os.getpid()), str(int(death_signal)), *user)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *wrapper,
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def started_at(pid: int) -> str | None:
    """A text that tells two processes with the same pid apart, or None when there is no such process."""
    if sys.platform == "linux":
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] == "Z" else fields[19]
        return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def signal_group(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def end_leftover(pid: int, began: str, signum: int, within_s: float = 10.0) -> bool:
    """Ends a child of a supervisor that was killed; never a stranger who got its pid. True when there was one."""
    if started_at(pid) != began:
        return False
    deadline = time.monotonic() + within_s
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
    while started_at(pid) == began:
        if time.monotonic() > deadline:
            signal_group(pid, signal.SIGKILL)
        time.sleep(0.05)
    return True
