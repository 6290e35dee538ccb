"""`status`, `down`, `clean`: the stack of a folder, seen from another process."""

import asyncio
import os
import shutil
import signal
import time
from contextlib import suppress
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from kefu_local.errors import LocalError, NotRunning, StillRunning
from kefu_local.folder import Folder, holder, is_locked
from kefu_local.leftovers import Recorded, recorded
from kefu_local.postgres_home import remove_outside
from kefu_local.probes import http_status
from kefu_local.services import SERVICES

VIEWER = "traces"
STOP_WITHIN_S = 120.0
POLL_S = 0.1


def show_status(folder: Folder) -> bool:
    """Prints a table; True when all is ready, or all but the viewer, which takes its time. Raises NotRunning."""
    if not is_locked(folder):
        raise NotRunning(folder.root)
    children = asyncio.run(_asked(recorded(folder)))
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "state", "pid", "where"):
        table.add_column(heading, overflow="fold")
    for child, state in children:
        table.add_row(child.name, state, str(child.pid or "-"), child.where)
    Console().print(table)
    return folder.stack_file.exists() and all(_is_well(child.name, state) for child, state in children)


def stop_running(folder: Folder) -> None:
    """Asks the supervisor to stop, and waits until it has. Raises NotRunning."""
    pid = holder(folder)
    if not is_locked(folder) or pid is None:
        raise NotRunning(folder.root)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            raise LocalError(f"Process {pid} has not stopped within {STOP_WITHIN_S:.0f} s: end it by `kill -9 {pid}`.")
        time.sleep(POLL_S)


def clean(folder: Folder) -> None:
    """Removes all data of a stack that is down. Raises StillRunning."""
    if is_locked(folder):
        raise StillRunning(f"The stack in {folder.root} is running: `make down` first.")
    remove_outside(folder.postgres_file)
    if folder.root.exists():
        shutil.rmtree(folder.root)


def _is_well(name: str, state: str) -> bool:
    return state == "ready" or (name == VIEWER and state == "starting")


async def _asked(children: list[Recorded]) -> list[tuple[Recorded, str]]:
    """Each with its state; a service is asked itself, since it can live without being able to work."""
    return list(zip(children, await asyncio.gather(*(_state(child) for child in children)), strict=True))


async def _state(child: Recorded) -> str:
    if child.name not in SERVICES or child.state != "ready":
        return child.state
    status = await http_status(urlsplit(child.where).port or 80, "/readyz")
    return "ready" if status == 200 else "not ready"
