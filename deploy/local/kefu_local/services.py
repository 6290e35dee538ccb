"""The children that are ours: the four services, the sink, the bridge, and the trace viewer, as specs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kefu_local.credentials import SERVICES_WITH_DATABASE
from kefu_local.errors import StepFailed
from kefu_local.folder import Folder
from kefu_local.ports import HOST, Ports
from kefu_local.probes import http_ready
from kefu_local.supervised import ChildSpec

SERVICES = ("intake", *SERVICES_WITH_DATABASE)
INFRASTRUCTURE, ASIDE, BEHIND, IN_FRONT = range(4)
"""Layers: intake is stopped first, so that nothing new is accepted while the rest finishes."""
MAIL_FROM = "Kefu <kefu@kefu.example>"
OURS = ("KEFU_KAFKA", "KEFU_POSTGRES", "KEFU_SMTP", "KEFU_SMS_URL", "KEFU_OBJECTS", "OTEL_")
"""Settings of the caller's shell that would lead a service elsewhere."""


@dataclass(frozen=True)
class Surroundings:
    """What a service has to be told about everything else."""

    folder: Folder
    ports: Ports
    operator_key: str
    sealing_key: str
    dsns: Mapping[str, str]
    viewer: bool
    topic_prefix: str = ""
    extra_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """More environment, by service; it wins."""

    @property
    def kafka(self) -> str:
        return f"{HOST}:{self.ports.kafka}"

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports.by_name(viewer=True)[name]}"


def service_spec(name: str, around: Surroundings) -> ChildSpec:
    port = around.ports.by_name(viewer=False)[name]
    return ChildSpec(
        name=name,
        argv=(kefu(), name, "serve", "--port", str(port)),
        log=around.folder.log / f"{name}.log",
        is_ready=http_ready(port),
        env={**service_env(name, around), **around.extra_env.get(name, {})},
        layer=IN_FRONT if name == "intake" else BEHIND,
        where=around.url(name),
    )


def service_env(name: str, around: Surroundings) -> dict[str, str]:
    env = {
        **common_env(around),
        "KEFU_OPERATOR_KEY": around.operator_key,
        "KEFU_SEALING_KEYS": around.sealing_key,
        "KEFU_OBJECTS": str(around.folder.objects),
        "KEFU_LMTP": f"{HOST}:{around.ports.lmtp}",
        "KEFU_SLOT": "0",
        "KEFU_SMTP": f"{HOST}:{around.ports.smtp}",
        "KEFU_SMS_URL": f"{around.url('sink')}/sms",
        "KEFU_MAIL_FROM": MAIL_FROM,
    }
    if name in around.dsns:
        env["KEFU_POSTGRES"] = around.dsns[name]
    if around.viewer:
        env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": around.url("otlp_bridge"), "KEFU_TRACE_RATIO": "1"}
    return env


def common_env(around: Surroundings) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env |= {"KEFU_KAFKA": around.kafka, "PYTHONUNBUFFERED": "1"}
    if around.topic_prefix:
        env["KEFU_TOPIC_PREFIX"] = around.topic_prefix
    return env


def sink_spec(around: Surroundings) -> ChildSpec:
    data = around.folder.root / "sink" / "messages.jsonl"
    options = ("--port", str(around.ports.sink), "--smtp-port", str(around.ports.smtp), "--data", str(data))
    return _local_spec("sink", around, around.ports.sink, *options)


def bridge_spec(around: Surroundings) -> ChildSpec:
    options = ("--port", str(around.ports.otlp_bridge), "--zipkin-url", around.url("traces"))
    return _local_spec("otlp-bridge", around, around.ports.otlp_bridge, *options)


def viewer_spec(around: Surroundings, java: Path, jar: Path) -> ChildSpec:
    port = around.ports.traces
    listen = {"ip": HOST, "port": port, "protocols[0]": "http"}
    return ChildSpec(
        name="traces",
        argv=(
            *(str(java), "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar)),
            *(f"--armeria.ports[0].{name}={value}" for name, value in listen.items()),
        ),
        log=around.folder.log / "traces.log",
        is_ready=http_ready(port, "/health"),
        env={**_plain_env(), "STORAGE_TYPE": "mem", "MEM_MAX_SPANS": "100000", "QUERY_PORT": str(port)},
        layer=ASIDE,
        where=around.url("traces"),
    )


async def run_step(name: str, command: tuple[str, ...], around: Surroundings, env: Mapping[str, str]) -> None:
    """Runs a `kefu` command to its end. Raises StepFailed with the last line that it said."""
    log = around.folder.log / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            kefu(),
            *command,
            env={**common_env(around), **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
    if code:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise StepFailed(f"`kefu {' '.join(command)}` failed: {' '.join(last)[:300]} (all of it: {log})")


def kefu() -> str:
    """The `kefu` of our own environment."""
    return str(Path(sys.executable).with_name("kefu"))


def _local_spec(name: str, around: Surroundings, port: int, *options: str) -> ChildSpec:
    return ChildSpec(
        name=name,
        argv=(sys.executable, "-m", "kefu_local", name, *options),
        log=around.folder.log / f"{name}.log",
        is_ready=http_ready(port),
        env=_plain_env(),
        layer=ASIDE,
        stop_within_s=10.0,
        where=f"http://{HOST}:{port}",
    )


def _plain_env() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
