"""The whole stack, as real processes, started once for all stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kefu_local.postgres_home import remove_outside
from kefu_local.stack import Stack
from tests.conftest import free_port_base
from tests.e2e.kefu import Kefu
from tests.e2e.traces import Collector, collecting


@pytest.fixture(scope="session")
async def collector() -> AsyncIterator[Collector]:
    """Where the stack's spans go."""
    async with collecting(free_port_base() + 7) as running:
        yield running


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> AsyncIterator[Stack]:
    """Everything that `make up` starts, but for the viewer."""
    folder: Path = tmp_path_factory.mktemp("stack")
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    env = dict.fromkeys(("intake", "routing", "notifications", "reporting"), tracing)
    try:
        async with Stack(folder, free_port_base(), viewer=False, extra_env=env, say=lambda _line: None) as running:
            yield running
    finally:
        remove_outside(running.folder.postgres_file)


@pytest.fixture
async def kefu(stack: Stack) -> AsyncIterator[Kefu]:
    """The demo account as its adapter and its agents see it, with nobody signed in."""
    async with Kefu(stack.describe()) as client:
        yield client
        await client.sign_everybody_out()
