"""Processes in tests: ports for them, and harming them so that it is certain that they are harmed."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import psutil


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on now, no two alike."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


async def freeze(pid: int, within_s: float = 5.0) -> None:
    """Stop a process, and return when all its threads have stopped: until then it may still answer."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + within_s
    while _thread_states(pid) != {"T"}:
        assert time.monotonic() < deadline, f"process {pid} still runs"
        await asyncio.sleep(0.01)


def _thread_states(pid: int) -> set[str]:
    """The states of a process's threads, as Linux names them; T is stopped. Elsewhere only the process is asked."""
    if not Path("/proc").exists():
        return {"T" if psutil.Process(pid).status() == psutil.STATUS_STOPPED else "R"}
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}
