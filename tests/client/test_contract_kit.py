"""The contract kit: a good adapter passes, and each broken promise is found by the scene that is about it."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kefu_client.checking.play import SCENES
from kefu_client.checking.run import run
from tests.client import adapters
from tests.client.adapters import Bad, a_start, good, running
from tests.intake.running import free_port

WITHIN_S = 3.0


Adapter = Callable[[str], Coroutine[Any, Any, None]]
"""Runs against a URL until it is cancelled."""


async def verdict(adapter: Adapter, scenes: Sequence[str] = tuple(SCENES)) -> tuple[bool, list[str]]:
    """Whether the adapter passed, and what was said."""
    port = free_port()
    said: list[str] = []
    async with running(lambda: _when_open(port, adapter)):
        is_good = await run("127.0.0.1", port, scenes, WITHIN_S, say=said.append)
    return is_good, said


async def _when_open(port: int, adapter: Adapter) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        break
    await adapter(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("start", ["chat.started", "call.started"])
async def test_an_adapter_that_is_built_on_the_client_keeps_the_contract(start: str) -> None:
    is_good, said = await verdict(partial(good, start=a_start(start)))
    assert is_good, "\n".join(said)
    assert [line.split()[1].rstrip(":") for line in said[1:]] == list(SCENES)


@pytest.mark.parametrize(
    ("adapter", "scene"),
    [
        (adapters.Deaf, "connects"),
        (adapters.Silent, "starts"),
        (adapters.Mute, "does"),
        (adapters.Elsewhere, "does"),
        (adapters.Repeating, "once"),
        (adapters.Forgetful, "resumes"),
        (adapters.Tireless, "expired"),
        (adapters.Slow, "late"),
        (adapters.Backwards, "in-order"),
        (adapters.Acrobat, "tolerates"),
        (adapters.Hasty, "retries"),
        (adapters.Optimist, "is-safe"),
        (adapters.Inventive, "is-safe"),
        (adapters.Stubborn, "cancels"),
        (adapters.Sloppy, "posts-well"),
    ],
)
async def test_each_broken_promise_is_found_by_its_scene(adapter: type[Bad], scene: str) -> None:
    needed = [name for name in ("connects", "starts", "does") if name != scene]
    scenes = [name for name in SCENES if name in (*needed, scene, "once")]
    is_good, said = await verdict(lambda url: adapter(url).run(), scenes)
    assert not is_good
    faulty = [line.split()[1].rstrip(":") for line in said if line.startswith("✗")]
    assert faulty == [scene], "\n".join(said)


async def test_the_command_says_what_it_found_and_ends_accordingly() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("kefu"),
        *("adapter", "check", url, "--timeout", "5", "--only", "once", "--only", "expired"),
        stdout=asyncio.subprocess.PIPE,
    )
    async with running(lambda: _when_open(port, good)):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    names = [line.split()[1].rstrip(":") for line in output.decode().splitlines() if line.startswith("✓")]
    assert names == ["connects", "starts", "does", "once", "expired"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["http://127.0.0.1:1", "--only", "dance"], "expected some of connects"),
        (["http://127.0.0.1:1", "--channel", "chat"], "belong together"),
        (["ftp://somewhere"], "expected http://host:port"),
    ],
)
async def test_wrong_use_is_told(arguments: list[str], says: str) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("kefu"), "adapter", "check", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert says in errors.decode()
