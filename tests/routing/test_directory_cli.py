"""`kefu directory`, and that docs/directory.md shows it as it is."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from kefu_routing.directory_cli import difference
from tests.routing.service import Routing, until
from tests.routing.test_whole import DOCUMENT, apply, empty

PAGE = (Path(__file__).parents[2] / "docs" / "directory.md").read_text(encoding="utf-8")
PROGRAM = Path(sys.executable).with_name("kefu")


@asynccontextmanager
async def listening(routing: Routing) -> AsyncIterator[str]:
    """The service on a port; its URL."""
    config = uvicorn.Config(routing.app, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([place]))

        async def started() -> bool | None:
            return server.started or None

        await until("it listens", started)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        await serving


async def run(folder: Path, *words: str, **env: str) -> tuple[int, str]:
    """A command's exit code, and all that it said."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("KEFU_")}
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *words,
        cwd=folder,
        env={**known, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_the_page_shows_what_the_commands_say(routing: Routing, tmp_path: Path) -> None:
    # H-02
    await empty(routing)
    for name, text in re.findall(r"`(\w+\.yaml)`:\n\n```yaml\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(text, encoding="utf-8")
    shown = "".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
    said, codes = "", []
    async with listening(routing) as url:
        (tmp_path / ".kefu").mkdir()
        stack = {"services": {"routing": url}, "keys": {"admin": routing.admin}}
        (tmp_path / ".kefu" / "stack.json").write_text(json.dumps(stack))
        for command in re.findall(r"^\$ kefu (.*)$", shown, re.MULTILINE):
            code, output = await run(tmp_path, *command.split())
            said += f"$ kefu {command}\n{output}"
            codes.append(code)
    assert said == shown
    assert codes == [0, 0, 0, 1]


async def test_what_is_exported_to_a_file_is_applied_with_url_and_key_of_the_environment(
    routing: Routing, tmp_path: Path
) -> None:
    # H-02
    await empty(routing)
    await apply(routing, DOCUMENT)
    file = tmp_path / "all.yaml"
    async with listening(routing) as url:
        env = {"KEFU_ROUTING_URL": url, "KEFU_KEY": routing.admin}
        assert await run(tmp_path, "directory", "export", "all.yaml", **env) == (0, "")
        assert await run(tmp_path, "directory", "export", **env) == (0, file.read_text(encoding="utf-8"))
        await routing.call("POST", "/v1/sites", {"id": "new", "name": "新"}, expect=201)
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("网店", "商城").replace("王芳", "王"), encoding="utf-8")
        code, said = await run(tmp_path, "directory", "apply", "all.yaml", "--prune", **env)
        assert (code, said.splitlines()) == (
            0,
            [
                "~ sites.shop",
                "    name: 网店 → 商城",
                "~ agents.a01",
                "    name: 王芳 → 王",
                "- sites.new",
                "0 created, 2 changed, 1 deleted",
                "Applied.",
            ],
        )
        (tmp_path / "one.json").write_text(json.dumps({"sites": {"shop": {"name": "店"}}}))
        code, said = await run(tmp_path, "directory", "apply", "one.json", **env)
        assert (code, said.splitlines()[-1]) == (0, "Applied.")
        code, said = await run(tmp_path, "directory", "export", **{**env, "KEFU_KEY": "wrong"})
        assert (code, said) == (1, "Error: nobody knows this key\n")
    code, said = await run(tmp_path, "directory", "export", **env)
    assert (code, "does not answer" in said) == (1, True)
    code, said = await run(tmp_path, "directory", "export")
    assert (code, "KEFU_ROUTING_URL" in said) == (1, True)


def test_a_difference_is_told_in_few_words() -> None:
    def item(path: str, *changes: tuple[str, object, object]) -> dict[str, object]:
        return {"path": path, "changes": [{"path": p, "before": b, "after": a} for p, b, a in changes]}

    holiday = {"date": "2027-01-01", "name": "元旦"}
    changed = item(
        "plans.shop",
        ("groups", ["a", "b"], ["b", "a"]),
        ("holidays", [], [holiday]),
        ("joins", ["email"], []),
        ("texts.welcome", None, "长" * 100),
        ("load", {"most": 3}, {}),
    )
    told = difference({"created": [item("sites.a")], "changed": [changed], "deleted": [], "kept": ["roles.x"]})
    assert told == [
        "+ sites.a",
        "~ plans.shop",
        "    groups: in another order",
        "    holidays: + 2027-01-01 元旦",
        "    joins: - email",
        f"    texts.welcome: null → {'长' * 79}…",
        "    load: 3 → {}",
        "1 created, 1 changed, 0 deleted; 1 not in the file stay (--prune deletes them)",
    ]
