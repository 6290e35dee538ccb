"""The examples of docs/adapters.md: as they stand there, each run against the whole stack, and its effect seen."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import tools
from tests.e2e.kefu import Json, Kefu, until

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = sorted(path.name for path in (DOCS / "examples").iterdir())


def test_the_page_shows_each_example_as_it_is() -> None:
    page = (DOCS / "adapters.md").read_text(encoding="utf-8")
    shown = re.findall(r"\[examples/([\w.]+)\][^\n]*\n+```\w+\n(.*?)```", page, re.DOTALL)
    assert sorted(name for name, _ in shown) == EXAMPLES
    for name, text in shown:
        assert text == (DOCS / "examples" / name).read_text(encoding="utf-8"), name


async def _command(name: str, folder: Path) -> list[str]:
    path = str(DOCS / "examples" / name)
    match name.rpartition(".")[2]:
        case "sh":
            return ["sh", path]
        case "py":
            return [sys.executable, path]
        case "mjs":
            return [await tools.node(), path]
        case "java":
            java, compiler = str(await tools.java()), str(await tools.jar("ecj"))
            command = [
                java,
                "-jar",
                compiler,
                "-source",
                "17",
                "-target",
                "17",
                "-encoding",
                "UTF-8",
                "-d",
                str(folder),
            ]
            compiling = await asyncio.create_subprocess_exec(*command, path)
            assert await compiling.wait() == 0
            return [java, "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", str(folder), "Chat"]
        case other:
            raise AssertionError(f"who runs .{other}?")


@pytest.mark.parametrize("name", EXAMPLES)
async def test_each_example_asks_is_answered_and_says_so(kefu: Kefu, name: str, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the example by curl needs curl"
    command = await _command(name, tmp_path)
    env = {
        "KEFU_INTAKE": kefu.urls["intake"],
        "KEFU_NOTIFICATIONS": kefu.urls["notifications"],
        "KEFU_KEY": kefu.adapter,
    }
    await kefu.sign_in("a01")
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "LC_ALL": "C.UTF-8", **env}, stdout=asyncio.subprocess.PIPE
    )
    try:
        ticket = await until("the example's chat is offered", lambda: _offered(kefu), within_s=30)
        await kefu.accept(await kefu.offer_of(ticket))
        await kefu.command(ticket, "reply", {"text": "有货，今天发出。"}, "a01")
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert "有货，今天发出。" in output.decode()

    async def delivered() -> list[Json] | None:
        items = (await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages"))["items"]
        return items if items[-1]["state"] == "delivered" else None

    assert [m["text"] for m in await until("the reply is delivered", delivered)] == ["烤箱有货吗？", "有货，今天发出。"]
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")


async def _offered(kefu: Kefu) -> Json | None:
    items = (await kefu.call("routing", "GET", "/v1/tickets?status=offered&limit=1"))["items"]
    return items[0] if items else None
