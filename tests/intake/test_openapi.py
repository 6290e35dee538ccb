"""The OpenAPI document says what the service does: schemathesis, with all its checks, finds nothing."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.intake.running import Intake

CONFIG = """
hooks = "tests.intake.openapi_hooks"

[checks.positive_data_acceptance]
# 422 for a rule that no schema can state: whether a text is an e-mail, or names a ticket
expected-statuses = ["2xx", "422"]
"""


@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        ("fuzzing", 12),
        pytest.param("examples,coverage,fuzzing", 200, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_schemathesis_finds_nothing(intake: Intake, tmp_path: Path, phases: str, examples: int) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        *("--config-file", config, "run", f"{intake.client.base_url}/openapi.json", "--checks", "all"),
        *("--header", "Authorization: Bearer secret", "--phases", phases, "--max-examples", str(examples)),
        cwd=tmp_path,  # where it leaves its cache
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
