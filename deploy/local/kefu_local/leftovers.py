"""A record of the children, for `status` and for the next start after a supervisor that was killed."""

import json
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from kefu_local.folder import Folder, write_json
from kefu_local.processes import end_leftover
from kefu_local.supervised import Child
from kefu_local.supervisor import Say


@dataclass(frozen=True)
class Recorded:
    name: str
    state: str
    where: str
    pid: int | None
    began: str | None
    death_signal: int


def record(folder: Folder, children: Iterable[Child]) -> None:
    rows = [
        Recorded(c.spec.name, str(c.state), c.spec.where, c.pid, c.began, int(c.spec.death_signal)) for c in children
    ]
    write_json(folder.children_file, [asdict(row) for row in rows])


def recorded(folder: Folder) -> list[Recorded]:
    try:
        rows = json.loads(folder.children_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Recorded(**row) for row in rows]


def end_leftovers(folder: Folder, say: Say) -> None:
    """Ends what a supervisor that was killed left running: on Linux the kernel has done so, elsewhere nobody has."""
    for child in recorded(folder):
        if child.pid is not None and child.began is not None:
            signum = signal.Signals(child.death_signal)
            if end_leftover(child.pid, child.began, signum):
                say(f"Ended {child.name} (process {child.pid}), which an earlier run had left.")
    folder.children_file.unlink(missing_ok=True)
