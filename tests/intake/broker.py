"""A Kafka of a test's own, which may be harmed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kefu_common.kafka.topics import create_all
from kefu_local.kafka import KafkaConfig, KafkaServer
from kefu_local.supervisor import Supervisor
from tests.conftest import free_port_base
from tests.processes import freeze


@dataclass(frozen=True)
class Broker:
    """A Kafka of our own, which may be harmed."""

    server: KafkaServer
    supervisor: Supervisor

    async def start(self) -> None:
        """Start it and make the topics."""
        await self.supervisor.start(self.server.spec())
        await self.supervisor.wait_ready("kafka-aside")
        await create_all(self.server.address, partitions=3)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._pid, number)

    async def freeze(self) -> None:
        """Stop it: from now on it answers nobody."""
        await freeze(self._pid)

    @property
    def _pid(self) -> int:
        pid = self.supervisor.child("kafka-aside").pid
        assert pid is not None
        return pid


@asynccontextmanager
async def a_broker(folder: Path) -> AsyncIterator[Broker]:
    """Prepared, but not started."""
    base = free_port_base()
    config = KafkaConfig(folder / "kafka-aside", base + 92, base + 93, folder / "kafka-aside.log", name="kafka-aside")
    made = Broker(KafkaServer(config), Supervisor(say=lambda _line: None))
    await made.server.prepare()
    try:
        yield made
    finally:
        await made.supervisor.stop()
