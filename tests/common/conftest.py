"""A bench for the tests of libs/common, and servers of their own that they may kill."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kefu_local.kafka import KafkaConfig, KafkaServer
from kefu_local.postgres import PostgresConfig, PostgresServer
from kefu_local.postgres_home import remove_outside
from kefu_local.supervisor import Supervisor
from tests.common.harness import Bench
from tests.conftest import World, free_port_base


@pytest.fixture
async def bench(world: World) -> AsyncIterator[Bench]:
    """A fresh world with a producer, a pool and the table `applied`."""
    async with Bench(world) as made:
        yield made


@dataclass(frozen=True)
class OwnServer:
    """A server that one test may kill."""

    address: str
    supervisor: Supervisor
    name: str

    @property
    def pid(self) -> int:
        """Of its process now."""
        process = self.supervisor.child(self.name).process
        assert process is not None
        return process.pid

    async def kill(self) -> None:
        """As `kill -9`; the supervisor starts it again."""
        await self.supervisor.kill(self.name)

    async def ready(self) -> None:
        """Return when it answers."""
        await self.supervisor.wait_ready(self.name)


@pytest.fixture(scope="session")
async def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnServer]:
    """A Kafka to be killed and stopped."""
    folder: Path = tmp_path_factory.mktemp("own-kafka")
    base = free_port_base()
    server = KafkaServer(KafkaConfig(folder / "kafka", base + 92, base + 93, folder / "kafka.log"))
    supervisor = Supervisor(say=lambda _line: None)
    await server.prepare()
    await supervisor.start(server.spec())
    try:
        await supervisor.wait_ready("kafka")
        yield OwnServer(server.address, supervisor, "kafka")
    finally:
        await supervisor.stop()


@pytest.fixture
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnServer]:
    """A PostgreSQL to be killed."""
    folder: Path = tmp_path_factory.mktemp("own-postgres")
    config = PostgresConfig(
        folder / "pg", folder / "pg.json", free_port_base() + 32, secrets.token_hex(8), folder / "pg.log"
    )
    server, supervisor = PostgresServer(config), Supervisor(say=lambda _line: None)
    await server.prepare()
    await supervisor.start(server.spec())
    try:
        await supervisor.wait_ready("postgres")
        yield OwnServer(server.dsn(), supervisor, "postgres")
    finally:
        await supervisor.stop()
        remove_outside(config.named_in)
