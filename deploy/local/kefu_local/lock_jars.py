"""Writes the jar locks anew (`make lock-kafka`). Only this needs Maven; fetching by a lock needs nothing."""

import asyncio
import hashlib
import subprocess
import tempfile
from pathlib import Path

import httpx

from kefu_local.errors import StepFailed
from kefu_local.jars import KAFKA_LOCK, ZIPKIN_LOCK, Artifact, maven_repository

KAFKA = Artifact("org.apache.kafka", "kafka_2.13", "4.3.1")
ZIPKIN = Artifact("io.zipkin", "zipkin-server", "3.5.1", "exec")
LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl")
"""Kafka's own dependencies bind SLF4J to nothing, so it would log nothing. Same version as its log4j-core."""

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>kefu</groupId><artifactId>lock</artifactId><version>1</version><dependencies><dependency>
<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>
</dependency></dependencies></project>
"""


async def lock_all() -> None:
    artifacts = await asyncio.to_thread(_dependencies, KAFKA)
    log4j = next(a for a in artifacts if a.name == "log4j-core")
    artifacts.append(Artifact(*LOGGING, log4j.version))
    for lock, locked in ((KAFKA_LOCK, artifacts), (ZIPKIN_LOCK, [ZIPKIN])):
        lines = await _lines(locked)
        await asyncio.to_thread(lock.write_text, "".join(f"{line}\n" for line in lines), encoding="utf-8")


def _dependencies(root: Artifact) -> list[Artifact]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pom.xml").write_text(POM.format(group=root.group, name=root.name, version=root.version))
        command = ["mvn", "-q", "-B", "dependency:list", "-DincludeScope=runtime", "-DoutputFile=list.txt"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StepFailed(f"mvn dependency:list failed: {done.stdout.strip()[:300]}")
        lines = [line.split() for line in Path(folder, "list.txt").read_text().splitlines()]
    coordinates = [words[0].split(":") for words in lines if words and words[0].count(":") >= 4]
    # group:artifact:type[:classifier]:version:scope
    return [Artifact(c[0], c[1], c[-2], c[3] if len(c) > 5 else "") for c in coordinates]


async def _lines(artifacts: list[Artifact]) -> list[str]:
    lines = ["# Written by `make lock-kafka`: group:artifact:version[:classifier] sha256"]
    async with httpx.AsyncClient(base_url=f"{maven_repository()}/", timeout=120, follow_redirects=True) as client:
        for artifact in sorted(artifacts, key=str):
            response = await client.get(artifact.path)
            response.raise_for_status()
            lines.append(f"{artifact} {hashlib.sha256(response.content).hexdigest()}")
    return lines
