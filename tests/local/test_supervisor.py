import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from kefu_local.errors import ChildKeepsDying
from kefu_local.processes import started_at
from kefu_local.supervised import ChildSpec, State
from kefu_local.supervisor import Supervisor

SLEEPER = "import time\nwhile True: time.sleep(1)"


@pytest.fixture
async def said() -> list[str]:
    return []


@pytest.fixture
async def supervisor(said: list[str]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(say=said.append)
    yield supervisor
    await supervisor.stop()


def a_child(folder: Path, script: str, *, is_ready: Callable[[], Awaitable[bool]] | None = None) -> ChildSpec:
    async def at_once() -> bool:
        return True

    return ChildSpec("child", (sys.executable, "-c", script), folder / "child.log", is_ready or at_once)


async def test_a_killed_child_comes_back(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    child = await supervisor.start(a_child(tmp_path, SLEEPER))
    await supervisor.wait_ready("child", within_s=10)
    first = child.pid

    await supervisor.kill("child")
    await supervisor.wait_ready("child", within_s=10)

    assert child.pid not in (None, first)
    assert any("starting it again" in line for line in said)


async def test_a_child_that_keeps_dying_is_named_with_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    await supervisor.start(a_child(tmp_path, "raise SystemExit('no such thing')", is_ready=never))

    with pytest.raises(ChildKeepsDying, match="died 5 times") as caught:
        await supervisor.wait_ready("child", within_s=60)

    assert str(tmp_path / "child.log") in str(caught.value)
    assert "no such thing" in (tmp_path / "child.log").read_text()


async def test_a_halted_child_stays_away_until_it_is_resumed(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(a_child(tmp_path, SLEEPER))
    await supervisor.wait_ready("child", within_s=10)

    await supervisor.halt("child")
    assert (child.state, child.pid) == (State.HALTED, None)

    await supervisor.resume("child")
    await supervisor.wait_ready("child", within_s=10)
    assert child.pid is not None


async def test_the_last_runs_log_is_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("earlier\n")
    await supervisor.start(a_child(tmp_path, SLEEPER))
    assert (tmp_path / "child.log.1").read_text() == "earlier\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends leftovers")
async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from kefu_local.supervisor import Supervisor
from kefu_local.supervised import ChildSpec
async def yes(): return True
async def main():
    supervisor = Supervisor()
    argv = (sys.executable, "-c", {SLEEPER!r})
    child = await supervisor.start(ChildSpec("child", argv, Path("child.log").absolute(), yes))
    await supervisor.wait_ready("child")
    print(child.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    began = started_at(pid)
    assert began is not None

    parent.kill()
    await parent.wait()

    async with asyncio.timeout(10):
        while started_at(pid) == began:  # noqa: ASYNC110 (another process has no event for us)
            await asyncio.sleep(0.02)
