"""`kefu demo`."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import click

from kefu_local.cli import OneLineCommand, folder_option
from kefu_local.errors import LocalError, NotRunning
from kefu_local.folder import Folder
from kefu_local.stack import StackFile

INTERRUPTED = 130


@click.command(cls=OneLineCommand)
@click.option(
    "--speed",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Minutes of the shop in a minute of ours.",
)
@click.option("--seed", type=click.IntRange(0), help="The same people come again; without one, others each time.")
@click.option(
    "--load",
    type=click.FloatRange(0, 10),
    default=1.0,
    show_default=True,
    help="How many come; 1 is an ordinary morning.",
)
@folder_option
def demo(speed: float, seed: int | None, load: float, directory: Path) -> None:
    """Play a believable hour of a small shop against the running stack."""
    folder = Folder(directory.absolute())
    stack = read_stack(folder)
    with only_one(folder):
        try:
            asyncio.run(_run(stack, speed, seed, load, folder.stack_file))
        except (KeyboardInterrupt, asyncio.CancelledError):
            click.echo("\nEnded early: the contacts have hung up, and the agents are signed out.")
            raise SystemExit(INTERRUPTED) from None


def read_stack(folder: Folder) -> StackFile:
    """Raises NotRunning, and LocalError without a demo account."""
    try:
        stack = json.loads(folder.stack_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotRunning(folder.root) from None
    if not {"admin", "adapter"} <= stack["keys"].keys():
        raise LocalError(f"The stack in {folder.root} has no demo account: `make clean`, then `make up`.")
    return cast(StackFile, stack)


@contextmanager
def only_one(folder: Folder) -> Iterator[None]:
    """Two at once would answer each other's calls. Raises LocalError."""
    fd = os.open(folder.root / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LocalError(f"A demo already plays against the stack in {folder.root}: wait for its end.") from None
    finally:
        os.close(fd)


async def _run(stack: StackFile, speed: float, seed: int | None, load: float, stack_file: Path) -> None:
    import httpx
    from rich.console import Console

    from kefu_local.demo.play import Wish, play
    from kefu_local.demo.screen import Screen
    from kefu_local.demo.summary import print_summary

    task = asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    console = Console()
    for name, url in stack["services"].items():
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                await client.get(f"{url}/healthz")
        except httpx.TransportError:
            raise LocalError(f"{name} does not answer at {url}: see `make status`.") from None
    with Screen(console) as screen:
        outcome = await play(stack, Wish(speed, seed, load), screen)
    print_summary(console, outcome, stack, stack_file)
