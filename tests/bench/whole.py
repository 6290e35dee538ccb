"""(c) From accepted to offered through everything, and (d) the memory of each process after that load."""

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from kefu_local.postgres_home import remove_outside
from kefu_local.stack import Stack
from tests.bench import account
from tests.bench.figures import Figure, Part, Process, seen
from tests.bench.lag import until_caught_up
from tests.bench.servers import module, run
from tests.conftest import free_port_base

TARGET_P99_MS = 100.0
TARGET_RSS_MIB = 150.0
PYTHON_SERVICES = ("intake", "routing", "notifications", "reporting")
_LAG_S = 1.0
"""Sustained means: at the end of the window no service is further behind than this much of the load."""
_FIRST_RATE, _GROWTH, _BACK_OFF = 100.0, 1.5, 0.85
_EVENTS_OF_A_CHAT = 3
_CATCH_UP_S = 60.0


@dataclass(frozen=True)
class Size:
    """How long each step takes."""

    step_s: float
    confirm_s: float
    measure_s: float


@dataclass(frozen=True)
class _Step:
    rate: float
    found: dict[str, Any]
    behind: dict[str, int]

    @property
    def is_sustained(self) -> bool:
        """Posted as fast as wanted, nothing refused, and nobody falls behind."""
        room = self.rate * _LAG_S
        return (
            self.found["refused"] == 0
            and self.found["posted_per_s"] >= 0.97 * self.rate
            and self.found["behind"] <= room
            and all(records <= room * _EVENTS_OF_A_CHAT for records in self.behind.values())
        )


async def measure(size: Size, *, latency: bool, memory: bool) -> list[Part]:
    """The whole stack, once, for both."""
    parts = []
    async with _stack() as stack:
        await account.put_into_database(stack.describe()["postgres"]["routing"], publish=True)
        await _warm_up(stack)
        if latency:
            parts.append(await _latency(stack, size))
        else:
            await _step(stack, 50, size.step_s)
        if memory:
            parts.append(_memory(stack))
    return parts


@asynccontextmanager
async def _stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="kefu-bench-", dir="/tmp", ignore_cleanup_errors=True) as name:
        stack = Stack(Path(name), free_port_base(), viewer=False, demo=False, say=lambda _line: None)
        try:
            async with stack:
                yield stack
        finally:
            remove_outside(stack.folder.postgres_file)


async def _warm_up(stack: Stack) -> None:
    """Until the account is known everywhere and nothing is refused any more."""
    for _ in range(10):
        if not (await _step(stack, 20, 2)).found["refused"]:
            return
    raise RuntimeError("intake still refuses the account's chats")


async def _latency(stack: Stack, size: Size) -> Part:
    part = Part("(c) accepted -> offered through all services")
    highest = await _highest_rate(stack, size, part)
    quarter = highest / 4
    await _pay_debts(stack)
    step = await _step(stack, quarter, size.measure_s)
    if step.found["refused"] or step.found["unoffered"]:
        raise RuntimeError(f"at {quarter:.0f}/s not every chat was accepted and offered: {step.found}")
    part.notes.append("between the two: a vacuum and a checkpoint, so that no window pays for the overload before it")
    part.figures += [
        Figure(f"highest rate sustained for {size.confirm_s:g} s", f"{highest:,.0f}/s"),
        Figure(f"p50 at {quarter:,.0f}/s", "", value=step.found["p50_ms"], unit=" ms"),
        Figure(
            f"p99 at {quarter:,.0f}/s", "", value=step.found["p99_ms"], target=TARGET_P99_MS, unit=" ms", at_most=True
        ),
    ]
    part.processes += [*seen(dict(stack.describe()["pids"])), Process(**step.found["process"])]
    return part


async def _highest_rate(stack: Stack, size: Size, part: Part) -> float:
    """Short windows at growing rates until one is not sustained; then back, until a long window is."""
    rate = _FIRST_RATE
    while (step := await _step(stack, rate, size.step_s)).is_sustained:
        rate *= _GROWTH
    part.notes.append(_said(step))
    while True:
        # What came through when it was too much is a good guess; never less than half, since a stall is no rate.
        rate = min(rate * _BACK_OFF, max(step.found["offered_per_s"], rate / 2))
        step = await _step(stack, rate, size.confirm_s)
        part.notes.append(_said(step))
        if step.is_sustained:
            return float(rate)
        if rate < 1:
            raise RuntimeError("no rate is sustained")


async def _pay_debts(stack: Stack) -> None:
    """What the overload before has left to PostgreSQL: dead rows, and pages to be written.

    It would otherwise be worked off within the next window; its latency is to be that of its own rate.
    """
    connection = await asyncpg.connect(stack.describe()["postgres"]["admin"])
    try:
        await connection.execute("vacuum analyze", timeout=120)
        await connection.execute("checkpoint", timeout=120)
    finally:
        await connection.close()


async def _step(stack: Stack, rate: float, seconds: float) -> _Step:
    kafka = stack.describe()["kafka"]
    load = module("offer_load", str(stack.ports.intake), kafka, str(rate), str(seconds))
    found = json.loads(await run(load, {}, within_s=seconds + 60))
    step = _Step(rate, found, found.pop("lag"))
    await until_caught_up(kafka, _CATCH_UP_S)
    return step


def _said(step: _Step) -> str:
    verdict = "sustained" if step.is_sustained else "not sustained"
    behind = {group.removeprefix("kefu."): records for group, records in step.behind.items() if records}
    return (
        f"{step.rate:,.0f}/s: {verdict}; offered {step.found['offered_per_s']:,.0f}/s,"
        f" {step.found['behind']} not yet offered, p99 {step.found['p99_ms']:,.0f} ms, behind at the end: {behind}"
    )


def _memory(stack: Stack) -> Part:
    part = Part("(d) resident memory after the load")
    part.processes += seen(dict(stack.describe()["pids"]))
    for process in part.processes:
        target = TARGET_RSS_MIB if process.name in PYTHON_SERVICES else None
        part.figures.append(
            Figure(process.name, f"pid {process.pid}", value=process.rss_mib, target=target, unit=" MiB", at_most=True)
        )
    return part
