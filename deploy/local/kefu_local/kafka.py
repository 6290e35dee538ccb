"""One Apache Kafka node (KRaft: broker and controller) on 127.0.0.1, from locked jars."""

import asyncio
import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kefu_local.errors import StepFailed
from kefu_local.jars import KAFKA_LOCK, fetch, read_lock
from kefu_local.java import find_java
from kefu_local.ports import HOST
from kefu_local.probes import kafka_ready
from kefu_local.supervised import ChildSpec

LOG4J = Path(__file__).with_name("log4j2.properties")
JVM = ("-Xmx512m", "-XX:+UseSerialGC")
SIMPLE_COMPILER = "-XX:TieredStopAtLevel=1"
"""Ready sooner; under load it takes 0.30 of a core later where the whole compiler takes 0.21."""
MAX_MESSAGE_BYTES = 2 * 2**20
"""Above the 1 MiB that an event may have, with its envelope."""


@dataclass(frozen=True)
class KafkaConfig:
    """`folder` holds the data and the generated properties, `log` is the file for its output.

    With `proxied_port` there is a second client listener on that port which tells clients to come back by
    `proxy_port`: put a proxy there, and they stay behind it.
    """

    folder: Path
    port: int
    controller_port: int
    log: Path
    proxied_port: int | None = None
    proxy_port: int | None = None
    name: str = "kafka"
    is_for_load: bool = False
    """Whether it is to be fast after a minute, and not at once."""


class KafkaServer:
    """`await prepare()`, then give `spec()` to a Supervisor; data and cluster id are kept in the folder."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._java: Path | None = None
        self._jars: Sequence[Path] = ()

    @property
    def address(self) -> str:
        return f"{HOST}:{self._config.port}"

    async def prepare(self) -> None:
        """Finds Java, fetches what jars are missing, writes the properties, formats a new folder.

        Raises NoJava, JarUnavailable, StepFailed.
        """
        self._java = await asyncio.to_thread(find_java)
        self._jars = await fetch(read_lock(KAFKA_LOCK))
        self._config.folder.mkdir(parents=True, exist_ok=True)
        self._properties_file.write_text(properties(self._config), encoding="utf-8")
        if not (self._data / "meta.properties").exists():
            await asyncio.to_thread(self._format)

    def spec(self) -> ChildSpec:
        return ChildSpec(
            name=self._config.name,
            argv=self._command("kafka.Kafka", str(self._properties_file)),
            log=self._config.log,
            is_ready=kafka_ready(self._config.port),
            env=self._environment(),
            cwd=self._config.folder,
            remedy="If its data is damaged, `make down` and then `make clean` begin anew.",
            where=self.address,
        )

    @property
    def _properties_file(self) -> Path:
        return self._config.folder / "server.properties"

    @property
    def _data(self) -> Path:
        return self._config.folder / "data"

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # A leading dash would be read as an option.
        cluster = f"K{cluster[1:]}"
        arguments = ("format", "--ignore-formatted", "--cluster-id", cluster, "--config", str(self._properties_file))
        done = subprocess.run(
            self._command("kafka.tools.StorageTool", *arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise StepFailed(f"Kafka cannot format {self._data}: {' '.join(last)}")

    def _command(self, main_class: str, *arguments: str) -> tuple[str, ...]:
        if self._java is None:
            raise RuntimeError("prepare() comes first")
        classpath = os.pathsep.join(str(jar) for jar in self._jars)
        compiler = () if self._config.is_for_load else (SIMPLE_COMPILER,)
        options = (*JVM, *compiler, "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={LOG4J}")
        return (str(self._java), *options, "-cp", classpath, main_class, *arguments)

    def _environment(self) -> dict[str, str]:
        # Options meant for other programs (CLASSPATH, JAVA_TOOL_OPTIONS) stay out.
        return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "TZ") if name in os.environ}


def properties(config: KafkaConfig) -> str:
    listeners = {"MAIN": config.port, "CONTROLLER": config.controller_port}
    advertised = {"MAIN": config.port}
    if config.proxied_port is not None:
        listeners["PROXIED"] = config.proxied_port
        advertised["PROXIED"] = config.proxy_port or config.proxied_port
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{config.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": _addresses(listeners),
        "advertised.listeners": _addresses(advertised),
        "inter.broker.listener.name": "MAIN",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "log.dirs": str(config.folder / "data"),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        # Few, so that the first member of a group does not wait for many partitions to be made.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        # The defaults are for big machines: the cleaner alone would take a quarter of the heap.
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
        "log.index.size.max.bytes": str(2**20),
        # A killed broker may not register again until its old session is over: by default 9 s.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _addresses(listeners: dict[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
