"""A stack of its own, as real processes that take orders to die; started once for all fault tests."""

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kefu_local.postgres_home import remove_outside
from kefu_local.services import SERVICES
from kefu_local.stack import Stack
from tests.conftest import free_port_base
from tests.faults.orders import Orders


@dataclass(frozen=True)
class Killable:
    """The running stack and the orders to its services. `said` is what the supervisor says."""

    stack: Stack
    orders: Orders
    said: list[str]

    def deaths_of_their_own(self) -> list[str]:
        """Processes that ended otherwise than by being killed (-9)."""
        return [line for line in self.said if " died " in line and "(exit code -9)" not in line]

    def errors(self) -> list[str]:
        """What the services logged as errors. The Kafka client calls it one when its broker is away, which it is."""
        found: list[str] = []
        for service in SERVICES:
            for line in (self.stack.folder.log / f"{service}.log").read_text(encoding="utf-8").splitlines():
                if ('"level": "error"' in line and '"logger": "aiokafka' not in line) or line.startswith("Traceback"):
                    found.append(f"{service}: {line[:500]}")
        return found


@pytest.fixture(scope="package")
async def killable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Killable]:
    """Everything that `make up` starts, but for the viewer."""
    folder: Path = tmp_path_factory.mktemp("faults")
    orders = Orders(folder / "orders")
    base = free_port_base()
    said: list[str] = []
    stack = Stack(folder / "stack", base, viewer=False, extra_env=orders.env(), say=said.append)
    try:
        async with stack:
            yield Killable(stack, orders, said)
    finally:
        remove_outside(stack.folder.postgres_file)


@pytest.fixture
def seed() -> int:
    """What is random in a run comes from it; KEFU_TEST_SEED repeats a run as far as processes allow."""
    chosen = int(os.environ.get("KEFU_TEST_SEED") or secrets.randbelow(1_000_000))
    print(f"KEFU_TEST_SEED={chosen}")
    return chosen
