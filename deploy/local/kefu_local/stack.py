"""The whole of Kefu on one machine: what is started, in which order, and what is written down about it."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypedDict

from kefu_local import demo_account
from kefu_local.credentials import SERVICES_WITH_DATABASE, CredentialsFile
from kefu_local.databases import DATABASE, prepare_database, service_dsns
from kefu_local.errors import LocalError
from kefu_local.folder import Folder, FolderLock, require_room, write_json
from kefu_local.jars import (
    KAFKA_LOCK,
    ZIPKIN_LOCK,
    fetch,
    jar_cache,
    maven_repository,
    missing,
    read_lock,
    without_password,
)
from kefu_local.java import find_java
from kefu_local.kafka import KafkaConfig, KafkaServer
from kefu_local.leftovers import end_leftovers, record
from kefu_local.ports import HOST, Ports, require_free
from kefu_local.postgres import PostgresConfig, PostgresServer
from kefu_local.services import (
    SERVICES,
    Surroundings,
    bridge_spec,
    run_step,
    service_spec,
    sink_spec,
    viewer_spec,
)
from kefu_local.supervisor import Say, Supervisor

READY_WITHIN_S = 90.0


class StackFile(TypedDict):
    """`.kefu/stack.json`."""

    services: dict[str, str]
    sink: str
    traces: str | None
    kafka: str
    postgres: dict[str, str]
    smtp: str
    lmtp: str
    """Where mail for the demo account's addresses can be delivered."""
    keys: dict[str, str]
    pids: dict[str, int]


class Stack:
    """`async with Stack(folder, port_base=18000, viewer=False) as stack:` has everything ready inside the block.

    `root` takes the place of `.kefu/`. Children die and come back while the block runs: see `supervisor`.
    With `proxy_port`, Kafka has a second listener on port base + 94 that sends clients back to that port.
    `extra_env` adds to a service's environment, by its name. Raises LocalError.
    """

    def __init__(
        self,
        root: Path,
        port_base: int = 8000,
        *,
        viewer: bool = True,
        demo: bool = True,
        topic_prefix: str = "",
        proxy_port: int | None = None,
        extra_env: Mapping[str, Mapping[str, str]] | None = None,
        say: Say = print,
    ) -> None:
        self.folder = Folder(root.absolute())
        self.ports = Ports(port_base)
        self.supervisor = Supervisor(say=say, on_change=self._on_change)
        self.credentials_file = CredentialsFile(self.folder.secrets_file)
        self._viewer, self._demo, self._proxy_port = viewer, demo, proxy_port
        self._topic_prefix, self._extra_env = topic_prefix, extra_env or {}
        self._say = say
        self._lock = FolderLock(self.folder)
        self._background: asyncio.Task[None] | None = None
        self._ready = False

    async def __aenter__(self) -> "Stack":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when all but the viewer are ready. After an error everything is stopped again."""
        self.folder.make()
        self._lock.acquire()
        try:
            await asyncio.to_thread(self._clear_the_way)
            self._prepare()
            await self._start_infrastructure()
            await self._start_services()
            if self._demo:
                services = self.describe()["services"]
                keys = await demo_account.create(services["routing"], services["notifications"], self.credentials_file)
                await demo_account.wait_in_force(services, keys)
        except BaseException:
            await self.stop()
            raise
        self._ready = True
        self._on_change()
        if self._viewer:
            self._background = asyncio.create_task(self._start_viewer(), name="start viewer")

    async def stop(self) -> None:
        """Everything in reverse order; data stays. May be called again."""
        self._ready = False
        self.folder.stack_file.unlink(missing_ok=True)
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])
        await self.supervisor.stop()
        self.folder.children_file.unlink(missing_ok=True)
        self._lock.release()

    def describe(self) -> StackFile:
        """What stack.json holds at this moment."""
        credentials = self.credentials_file.load()
        keys = {"operator": credentials.operator, "admin": credentials.admin, "adapter": credentials.adapter}
        return {
            "services": {name: self._around.url(name) for name in SERVICES},
            "sink": self._around.url("sink"),
            "traces": self._around.url("traces") if self._viewer else None,
            "kafka": self._around.kafka,
            "postgres": {"admin": self._postgres.dsn(DATABASE), **self._around.dsns},
            "smtp": f"{HOST}:{self.ports.smtp}",
            "lmtp": f"{HOST}:{self.ports.lmtp}",
            "keys": {name: key for name, key in keys.items() if key is not None},
            "pids": {child.spec.name: child.pid for child in self.supervisor.children if child.pid is not None},
        }

    def _clear_the_way(self) -> None:
        self.folder.stack_file.unlink(missing_ok=True)
        end_leftovers(self.folder, self._say)
        require_room(self.folder.root, jar_cache())
        require_free(self.ports.by_name(viewer=self._viewer, proxied=self._proxy_port is not None), self.ports.base)

    def _prepare(self) -> None:
        credentials = self.credentials_file.load()
        folder, ports = self.folder, self.ports
        self._kafka = KafkaServer(
            KafkaConfig(
                folder=folder.kafka,
                port=ports.kafka,
                controller_port=ports.kafka_controller,
                log=folder.log / "kafka.log",
                proxied_port=ports.kafka_proxied if self._proxy_port else None,
                proxy_port=self._proxy_port,
            )
        )
        self._postgres = PostgresServer(
            PostgresConfig(
                folder=folder.postgres,
                named_in=folder.postgres_file,
                port=ports.postgres,
                password=credentials.postgres["admin"],
                log=folder.log / "postgres.log",
            )
        )
        self._around = Surroundings(
            folder=folder,
            ports=ports,
            operator_key=credentials.operator,
            sealing_key=credentials.sealing,
            dsns=service_dsns(self._postgres.dsn(), DATABASE, credentials.postgres),
            viewer=self._viewer,
            topic_prefix=self._topic_prefix,
            extra_env=self._extra_env,
        )

    async def _start_infrastructure(self) -> None:
        await self.supervisor.start(sink_spec(self._around))
        if self._viewer:
            await self.supervisor.start(bridge_spec(self._around))
        await _all(self._start_kafka(), self._start_postgres())

    async def _start_kafka(self) -> None:
        lacking = await asyncio.to_thread(missing, read_lock(KAFKA_LOCK), jar_cache())
        if lacking:
            self._say(f"Fetching Apache Kafka ({len(lacking)} jars) from {without_password(maven_repository())} …")
        await self._kafka.prepare()
        await self.supervisor.start(self._kafka.spec())
        await self.supervisor.wait_ready("kafka", within_s=READY_WITHIN_S)
        await run_step("topics", ("topics", "create"), self._around, {})

    async def _start_postgres(self) -> None:
        await self._postgres.prepare()
        await self.supervisor.start(self._postgres.spec())
        await self.supervisor.wait_ready("postgres", within_s=READY_WITHIN_S)
        await self._postgres.check()
        dsns = await prepare_database(self._postgres.dsn(), DATABASE, self.credentials_file.load().postgres)
        env = {f"KEFU_POSTGRES_{name.upper()}": dsns[name] for name in SERVICES_WITH_DATABASE}
        await run_step("migrate", ("migrate",), self._around, env)

    async def _start_services(self) -> None:
        for name in (*SERVICES_WITH_DATABASE, "intake"):
            await self.supervisor.start(service_spec(name, self._around))
        everything = [child.spec.name for child in self.supervisor.children]
        await self.supervisor.wait_ready(*everything, within_s=READY_WITHIN_S)

    async def _start_viewer(self) -> None:
        """Nobody waits for the viewer, and the stack is whole without it."""
        try:
            jars = await fetch(read_lock(ZIPKIN_LOCK))
            java = await asyncio.to_thread(find_java)
            await self.supervisor.start(viewer_spec(self._around, java, jars[0]))
        except (LocalError, OSError) as error:
            self._say(f"There will be no trace viewer: {error}")

    def _on_change(self) -> None:
        record(self.folder, self.supervisor.children)
        if self._ready:
            write_json(self.folder.stack_file, self.describe())


async def _all(*steps: Coroutine[None, None, None]) -> None:
    """Together; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
