"""What `make bench` prints: each figure beside its yardstick and its target, what ran, and on what."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

import psutil

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Process:
    """A process that took part, and its resident memory while it worked."""

    name: str
    pid: int
    rss_mib: float


@dataclass(frozen=True)
class Figure:
    """One line of the table. A target is reached from above (a ratio) or, with `at_most`, from below."""

    name: str
    product: str
    yardstick: str = ""
    value: float | None = None
    target: float | None = None
    unit: str = ""
    at_most: bool = False

    @property
    def is_missed(self) -> bool:
        """Whether it has a target and does not reach it."""
        if self.target is None:
            return False
        if self.value is None:
            return True
        return self.value > self.target if self.at_most else self.value < self.target

    def row(self) -> tuple[str, ...]:
        """Its cells: figure, product, yardstick, value, target, verdict."""
        decimals = 2 if not self.unit else 1
        shown = "" if self.value is None else f"{self.value:.{decimals}f}{self.unit}"
        sign = "<=" if self.at_most else ">="
        wanted = "" if self.target is None else f"{sign} {self.target:g}{self.unit}"
        verdict = "" if self.target is None else ("MISSED" if self.is_missed else "ok")
        return self.name, self.product, self.yardstick, shown, wanted, verdict


@dataclass
class Part:
    """What one part of the bench found."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rate(name: str, product: Sequence[float], yardstick: Sequence[float], target: float | None = None) -> Figure:
    """Rates of interleaved rounds as a figure: the medians, and the ratio of the medians."""
    mine, theirs = median(product), median(yardstick)
    return Figure(name, f"{mine:,.0f}/s", f"{theirs:,.0f}/s", mine / theirs, target)


def rounds(name: str, rates: Iterable[float]) -> str:
    """A note that shows how far the rounds lie apart."""
    return f"{name}, rounds: {' '.join(f'{r:,.0f}' for r in rates)} /s"


def seen(pids: dict[str, int]) -> list[Process]:
    """The processes by name, with the memory that they have now."""
    found = []
    for name, pid in pids.items():
        try:
            found.append(Process(name, pid, psutil.Process(pid).memory_info().rss / _MIB))
        except psutil.NoSuchProcess:
            continue
    return found


def myself(name: str) -> dict[str, Any]:
    """This process, for the JSON that a load or a loop prints."""
    return asdict(seen({name: os.getpid()})[0])


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def machine() -> str:
    """What the figures were measured on."""
    names = ("fastapi", "uvicorn", "pydantic", "aiokafka", "faststream", "asyncpg")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    memory = psutil.virtual_memory().total / _MIB / 1024
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, load {load:.1f};"
        f" Python {platform.python_version()}, {versions}"
    )


def show(part: Part) -> str:
    """A part as text."""
    head = ("figure", "product", "yardstick", "ratio/value", "target", "")
    lines = [f"== {part.title}", *_table([head, *(f.row() for f in part.figures)])]
    lines += [f"   {note}" for note in part.notes]
    ran = [f"{p.name} (pid {p.pid}, {p.rss_mib:.0f} MiB)" for p in part.processes]
    return "\n".join([*lines, f"   ran: {', '.join(ran)}"] if ran else lines)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["   " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
