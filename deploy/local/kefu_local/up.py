"""`up`: a stack in the foreground, until Ctrl-C, SIGTERM or `down`."""

import asyncio
import signal
import time
from contextlib import suppress

from kefu_local.stack import Stack


def tell(line: str) -> None:
    """Prints; a terminal or pipe that has gone away must not keep anything from stopping."""
    with suppress(OSError):
        print(line, flush=True)


async def run(stack: Stack) -> None:
    """Starts the stack, prints where everything is, and stops it when told to. A second signal stops it at once."""
    stopping = asyncio.Event()
    starting = asyncio.create_task(stack.start(), name="start stack")

    def on_signal() -> None:
        if stopping.is_set():
            tell("Killing everything.")
            stack.supervisor.kill_all()
            return
        tell("\nStopping … (again to kill)")
        stopping.set()
        starting.cancel()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, on_signal)
    began = time.monotonic()
    try:
        await starting
    except asyncio.CancelledError:
        return
    tell(_summary(stack, time.monotonic() - began))
    try:
        await stopping.wait()
    finally:
        await stack.stop()
    tell("Stopped. The data is kept; `make up` goes on from here.")


def _summary(stack: Stack, took_s: float) -> str:
    written = stack.describe()
    rows = [(name, f"{url}/docs") for name, url in written["services"].items()]
    rows += [
        ("mail and SMS sink", written["sink"]),
        ("mail comes in at", f"{written['lmtp']}, LMTP or SMTP"),
        ("traces", f"{written['traces']} (still starting)" if written["traces"] else "off"),
        ("Kafka", written["kafka"]),
        ("PostgreSQL", f"127.0.0.1:{stack.ports.postgres}, database kefu"),
        ("keys, addresses", str(stack.folder.stack_file)),
        ("logs", f"{stack.folder.log}/"),
    ]
    lines = "\n".join(f"  {name:<18} {where}" for name, where in rows)
    return f"\nKefu is ready after {took_s:.1f} s. Account: demo.\n\n{lines}\n\nCtrl-C or `make down` stops it.\n"
