"""A real Kafka and a real PostgreSQL for all tests, started once; databases and topics of its own for each test."""

import asyncio
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from cryptography.fernet import Fernet

from kefu_common.kafka.topics import create_all
from kefu_common.postgres.migrations import migrate
from kefu_local.credentials import SERVICES_WITH_DATABASE
from kefu_local.databases import clone_database, drop_database, prepare_database, service_dsns
from kefu_local.kafka import KafkaConfig, KafkaServer
from kefu_local.postgres import PostgresConfig, PostgresServer
from kefu_local.postgres_home import remove_outside
from kefu_local.supervisor import Supervisor

TEMPLATE = "kefu_template"
SEALING_KEY = Fernet.generate_key().decode()


def free_port_base() -> int:
    """A base whose first 100 ports nobody uses now; below the ports that the system gives to clients.

    Test processes that run side by side choose from different ones.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    while True:
        base = 20_000 + (secrets.randbelow(30) * 4 + int(worker) % 4) * 100
        try:
            for offset in (1, 2, 3, 4, 5, 6, 7, 24, 25, 32, 92, 93, 94):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base


@dataclass(frozen=True)
class Servers:
    """The test run's own servers."""

    kafka: str
    admin_dsn: str
    passwords: dict[str, str]
    supervisor: Supervisor


@dataclass(frozen=True)
class World:
    """A Kefu of its own on the shared servers: fresh schemas, and topics under a prefix of its own."""

    kafka: str
    prefix: str
    dsns: dict[str, str]
    admin_dsn: str
    objects: str
    """Where attachments lie."""

    def env(self, service: str) -> dict[str, str]:
        """The environment of one of its services."""
        found = {"KEFU_KAFKA": self.kafka, "KEFU_TOPIC_PREFIX": self.prefix, "KEFU_OPERATOR_KEY": "operator-key"}
        found |= {"KEFU_OBJECTS": self.objects, "KEFU_SEALING_KEYS": SEALING_KEY}
        if service in self.dsns:
            found["KEFU_POSTGRES"] = self.dsns[service]
        return found


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """Where this run's servers keep their data."""
    with tempfile.TemporaryDirectory(prefix="kefu-test-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
async def servers(run_folder: Path) -> AsyncIterator[Servers]:
    """Kafka and PostgreSQL, with one migrated database as a template."""
    base = free_port_base()
    kafka = KafkaServer(
        KafkaConfig(
            folder=run_folder / "kafka",
            port=base + 92,
            controller_port=base + 93,
            log=run_folder / "kafka.log",
        )
    )
    postgres = PostgresServer(
        PostgresConfig(
            folder=run_folder / "postgres",
            named_in=run_folder / "postgres.json",
            port=base + 32,
            password=secrets.token_hex(8),
            log=run_folder / "postgres.log",
        )
    )
    supervisor = Supervisor(say=lambda _line: None)
    try:
        await asyncio.gather(kafka.prepare(), postgres.prepare())
        await supervisor.start(postgres.spec())
        await supervisor.start(kafka.spec())
        await supervisor.wait_ready("kafka", "postgres")
        passwords = {name: secrets.token_hex(8) for name in SERVICES_WITH_DATABASE}
        dsns = await prepare_database(postgres.dsn(), TEMPLATE, passwords)
        for service, dsn in dsns.items():
            await migrate(dsn, service)
        yield Servers(kafka.address, postgres.dsn(), passwords, supervisor)
    finally:
        await supervisor.stop()
        remove_outside(run_folder / "postgres.json")


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> str:
    """Bootstrap servers of the run's Kafka."""
    return servers.kafka


@pytest.fixture(scope="session")
def make_world(servers: Servers, run_folder: Path) -> Callable[[], Awaitable[World]]:
    """Makes worlds; for tests that need one for longer than a single test."""

    async def make() -> World:
        name = f"t{secrets.token_hex(4)}"
        await clone_database(servers.admin_dsn, TEMPLATE, name)
        dsns = service_dsns(servers.admin_dsn, name, servers.passwords)
        await create_all(servers.kafka, f"{name}.", partitions=3)
        return World(servers.kafka, f"{name}.", dsns, servers.admin_dsn, str(run_folder / "objects" / name))

    return make


@pytest.fixture
async def dsns(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """Fresh, migrated schemas for one test: the DSN of each service's role."""
    name = f"t{secrets.token_hex(4)}"
    await clone_database(servers.admin_dsn, TEMPLATE, name)
    yield service_dsns(servers.admin_dsn, name, servers.passwords)
    await drop_database(servers.admin_dsn, name)


@pytest.fixture
def routing_dsn(dsns: dict[str, str]) -> str:
    """Routing's fresh schema."""
    return dsns["routing"]


@pytest.fixture
def notifications_dsn(dsns: dict[str, str]) -> str:
    """Notifications' fresh schema."""
    return dsns["notifications"]


@pytest.fixture
def reporting_dsn(dsns: dict[str, str]) -> str:
    """Reporting's fresh schema."""
    return dsns["reporting"]


@pytest.fixture
async def world(make_world: Callable[[], Awaitable[World]], servers: Servers) -> AsyncIterator[World]:
    """Fresh schemas and topics for one test."""
    made = await make_world()
    yield made
    await drop_database(servers.admin_dsn, made.prefix.removesuffix("."))


@pytest.fixture
async def connect(world: World) -> AsyncIterator[Callable[[str], Awaitable["asyncpg.Connection[asyncpg.Record]"]]]:
    """Connections to a service's schema, closed after the test."""
    opened: list[asyncpg.Connection[asyncpg.Record]] = []

    async def connect_to(service: str) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await asyncpg.connect(world.dsns[service])
        opened.append(connection)
        return connection

    yield connect_to
    for connection in opened:
        await connection.close()
