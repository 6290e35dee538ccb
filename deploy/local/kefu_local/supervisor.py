"""Keeps child processes alive: started with a health gate, started again with growing waits, stopped in order."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from kefu_common.waking import is_set_within
from kefu_local.errors import ChildKeepsDying, ChildNotReady
from kefu_local.processes import signal_group, spawn, started_at
from kefu_local.supervised import LOG_LIMIT_BYTES, Child, ChildSpec, State, keep_previous, truncate_copy

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
DEATHS = 5
WITHIN_S = 60.0
STEADY_S = 5.0
"""A child that was ready this long starts again at once, with the shortest wait."""
READY_POLL_S = 0.1
LOG_CHECK_S = 30.0

Say = Callable[[str], None]


class Supervisor:
    """Owns its children from `start` to `stop`. Use it from one event loop, whose thread must outlive the children.

    `say` gets one line for people; `on_change` is called after each change of a child's state or pid.
    """

    def __init__(self, *, say: Say = print, on_change: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._on_change = on_change
        self._children: dict[str, Child] = {}
        self._logs: asyncio.Task[None] | None = None

    @property
    def children(self) -> list[Child]:
        """In the order in which they were started."""
        return list(self._children.values())

    def child(self, name: str) -> Child:
        return self._children[name]

    async def start(self, spec: ChildSpec) -> Child:
        """Starts a child and keeps it alive from now on; it is ready only after `wait_ready`."""
        if spec.name in self._children:
            raise ValueError(f"a child {spec.name} was started already")
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        keep_previous(spec.log)
        child = Child(spec)
        self._children[spec.name] = child
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")
        if self._logs is None:
            self._logs = asyncio.create_task(self._bound_logs(), name="bound logs")
        return child

    async def wait_ready(self, *names: str, within_s: float = 60.0) -> None:
        """Raises ChildKeepsDying or ChildNotReady for the first of the children that does not come up."""
        tasks = [asyncio.create_task(self._wait_one(self.child(name), within_s)) for name in names]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_one(self, child: Child, within_s: float) -> None:
        child.awaited += 1
        try:
            async with asyncio.timeout(within_s):
                await child.settled.wait()
        except TimeoutError:
            raise ChildNotReady(child.spec.name, child.spec.log, within_s, child.spec.remedy) from None
        finally:
            child.awaited -= 1
        if child.state is not State.READY:
            raise ChildKeepsDying(child.spec.name, child.spec.log, len(child.deaths), child.spec.remedy)

    async def kill(self, name: str) -> None:
        """Kills a child (-9) and returns when its death was noticed, so that `wait_ready` waits for the next life."""
        child = self.child(name)
        process = child.process
        if process is not None:
            signal_group(process.pid, signal.SIGKILL)
            await child.died.wait()

    async def halt(self, name: str) -> None:
        """Stops a child in an orderly way, and leaves it stopped until `resume`."""
        child = self.child(name)
        child.wanted = False
        await self._end(child)
        self._move(child, State.HALTED)

    async def resume(self, name: str) -> None:
        child = self.child(name)
        if child.wanted:
            return
        child.wanted = True
        child.forget()
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {name}")

    async def stop(self) -> None:
        """Stops everything, the highest layer first, the children of one layer together. May be called again."""
        for child in self.children:
            child.wanted = False
        for layer in sorted({child.spec.layer for child in self.children}, reverse=True):
            async with asyncio.TaskGroup() as group:
                for child in self.children:
                    if child.spec.layer == layer:
                        group.create_task(self._end(child))
        if self._logs is not None:
            self._logs.cancel()
            self._logs = None

    def kill_all(self) -> None:
        """For the impatient: a running `stop` then ends at once."""
        for child in self.children:
            child.wanted = False
            if child.process is not None:
                signal_group(child.process.pid, signal.SIGKILL)

    async def _keep(self, child: Child) -> None:
        while child.wanted:
            self._move(child, State.STARTING)
            try:
                await self._live(child)
            except OSError as error:
                self._say(f"{child.spec.name} cannot be started: {error}")
            if not child.wanted:
                return
            await self._pause_after_death(child)

    async def _live(self, child: Child) -> None:
        """One life: from the start of the process to its end."""
        spec = child.spec
        child.process = await spawn(
            spec.argv,
            env=spec.env,
            cwd=spec.cwd or spec.log.parent,
            log=spec.log,
            account=spec.account,
            death_signal=spec.death_signal,
        )
        child.born, child.began = time.monotonic(), started_at(child.process.pid)
        child.died.clear()
        if not child.wanted:
            child.process.send_signal(spec.stop_signal)
        self._on_change()
        gate = asyncio.create_task(self._watch_ready(child), name=f"gate {spec.name}")
        try:
            child.exit_code = await child.process.wait()
        finally:
            gate.cancel()
            with suppress(asyncio.CancelledError):
                await gate
            child.process = None
            child.settled.clear()
            child.died.set()

    async def _watch_ready(self, child: Child) -> None:
        while not await child.spec.is_ready():  # noqa: ASYNC110 (another process has no event for us)
            await asyncio.sleep(READY_POLL_S)
        child.ready_since = time.monotonic()
        child.deaths.clear()
        child.reported = False
        if child.lives > 0:
            self._say(f"{child.spec.name} is ready again.")
        child.lives += 1
        self._move(child, State.READY)
        child.settled.set()

    async def _pause_after_death(self, child: Child) -> None:
        now = time.monotonic()
        was_ready, was_steady = child.ready_since is not None, child.was_steady(now, STEADY_S)
        child.wait_s = FIRST_WAIT_S if was_steady or child.wait_s == 0 else min(child.wait_s * 2, LONGEST_WAIT_S)
        child.ready_since = None
        if was_ready:
            self._say(f"{child.spec.name} died (exit code {child.exit_code}); starting it again. Log: {child.spec.log}")
        else:
            child.deaths = [t for t in child.deaths if now - t < WITHIN_S] + [now]
        if len(child.deaths) >= DEATHS:
            self._report(child)
        elif child.state is not State.FAILING:
            self._move(child, State.WAITING)
        await is_set_within(child.unwanted, child.wait_s)

    def _report(self, child: Child) -> None:
        if not child.reported and not child.awaited:
            self._say(str(ChildKeepsDying(child.spec.name, child.spec.log, len(child.deaths), child.spec.remedy)))
        child.reported = True
        self._move(child, State.FAILING)
        child.settled.set()

    async def _end(self, child: Child) -> None:
        child.unwanted.set()
        if child.process is not None:
            with suppress(ProcessLookupError):
                child.process.send_signal(child.spec.stop_signal)
        if child.keeper is None:
            return
        _, late = await asyncio.wait([child.keeper], timeout=child.spec.stop_within_s)
        if late and child.process is not None:
            self._say(f"{child.spec.name} did not stop within {child.spec.stop_within_s:.0f} s; killing it.")
            signal_group(child.process.pid, signal.SIGKILL)
        await child.keeper
        child.keeper = None
        self._move(child, State.STOPPED)

    def _move(self, child: Child, state: State) -> None:
        child.state = state
        self._on_change()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for child in self.children:
                truncate_copy(child.spec.log, LOG_LIMIT_BYTES)
