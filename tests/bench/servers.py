"""The bench's own Kafka and PostgreSQL in a folder that goes away, and the processes that run beside them."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kefu_common.kafka.topics import create_all
from kefu_common.postgres.migrations import migrate
from kefu_local.credentials import SERVICES_WITH_DATABASE
from kefu_local.databases import clone_database, drop_database, prepare_database, service_dsns
from kefu_local.kafka import KafkaConfig, KafkaServer
from kefu_local.postgres import PostgresConfig, PostgresServer
from kefu_local.postgres_home import remove_outside
from kefu_local.probes import http_ready
from kefu_local.services import kefu
from kefu_local.supervised import ChildSpec
from kefu_local.supervisor import Supervisor
from tests.conftest import free_port_base

MIGRATED = "kefu_migrated"
_REPOSITORY = Path(__file__).parents[2]


@dataclass
class Servers:
    """A running Kafka and PostgreSQL, and whatever a part starts beside them."""

    kafka: str
    admin_dsn: str
    passwords: dict[str, str]
    folder: Path
    port_base: int
    supervisor: Supervisor
    _worlds: int = field(default=0)

    def pids(self, *names: str) -> dict[str, int]:
        """Process ids by name; all children without names."""
        children = [c for c in self.supervisor.children if not names or c.spec.name in names]
        return {c.spec.name: c.pid for c in children if c.pid is not None}

    async def world(self, template: str = MIGRATED) -> "World":
        """Fresh topics under a prefix of their own and a fresh copy of a database."""
        self._worlds += 1
        name = f"w{self._worlds}"
        await clone_database(self.admin_dsn, template, name)
        await create_all(self.kafka, f"{name}.")
        return World(self.kafka, f"{name}.", name, service_dsns(self.admin_dsn, name, self.passwords)["routing"])

    async def drop(self, world: "World") -> None:
        """Give back the disk that a run's database takes."""
        await drop_database(self.admin_dsn, world.database)

    @asynccontextmanager
    async def serving(
        self, name: str, argv: tuple[str, ...], port: int, env: Mapping[str, str], path: str = "/readyz"
    ) -> AsyncIterator[int]:
        """A server while the block runs; gives its pid once it is ready."""
        spec = ChildSpec(name, argv, self.folder / f"{name}.log", http_ready(port, path), environment(env), _REPOSITORY)
        child = await self.supervisor.start(spec)
        try:
            await self.supervisor.wait_ready(name)
            assert child.pid is not None
            yield child.pid
        finally:
            await self.supervisor.halt(name)


@dataclass(frozen=True)
class World:
    """Topics and routing's schema for one run."""

    kafka: str
    prefix: str
    database: str
    dsn: str

    def env(self) -> dict[str, str]:
        """How a process is told about them."""
        return {"KEFU_KAFKA": self.kafka, "KEFU_TOPIC_PREFIX": self.prefix, "KEFU_POSTGRES": self.dsn}


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Kafka and PostgreSQL with a migrated template database, ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="kefu-bench-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder, base = Path(name), free_port_base()
        kafka = KafkaServer(KafkaConfig(folder / "kafka", base + 92, base + 93, folder / "kafka.log", is_for_load=True))
        named_in = folder / "postgres.json"
        postgres = PostgresServer(
            PostgresConfig(folder / "postgres", named_in, base + 32, secrets.token_hex(8), folder / "postgres.log")
        )
        supervisor = Supervisor(say=lambda line: print(f"   {line}", file=sys.stderr))
        try:
            await asyncio.gather(kafka.prepare(), postgres.prepare())
            await supervisor.start(postgres.spec())
            await supervisor.start(kafka.spec())
            await supervisor.wait_ready("kafka", "postgres", within_s=90)
            passwords = {service: secrets.token_hex(8) for service in SERVICES_WITH_DATABASE}
            dsns = await prepare_database(postgres.dsn(), MIGRATED, passwords)
            await migrate(dsns["routing"], "routing")
            yield Servers(kafka.address, postgres.dsn(), passwords, folder, base, supervisor)
        finally:
            await supervisor.stop()
            remove_outside(named_in)


def service(name: str, port: int) -> tuple[str, ...]:
    """The command that serves one of Kefu's services."""
    return (kefu(), name, "serve", "--port", str(port))


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of the bench."""
    return (sys.executable, "-m", f"tests.bench.{name}", *arguments)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would lead a child elsewhere."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("KEFU_", "OTEL_"))}
    return {**own, "PYTHONUNBUFFERED": "1", **more}


@asynccontextmanager
async def beside(argv: tuple[str, ...], env: Mapping[str, str]) -> AsyncIterator[int]:
    """A command of the bench while the block runs, which does not end by itself; gives its pid."""
    process = await asyncio.create_subprocess_exec(*argv, env=environment(env), cwd=_REPOSITORY)
    try:
        yield process.pid
        if process.returncode is not None:
            raise RuntimeError(f"{' '.join(argv[1:])} ended with {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(argv: tuple[str, ...], env: Mapping[str, str], within_s: float) -> bytes:
    """Run a command of the bench to its end; what it wrote to standard output. Raises `RuntimeError`."""
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment(env), cwd=_REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv[1:])} ended with {process.returncode}")
    return output
