"""Jars from a Maven repository without Maven: exactly those of a lock file, each checked against its SHA-256."""

import asyncio
import hashlib
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import certifi
import httpx

from kefu_local.errors import JarUnavailable

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
AT_ONCE = 8
WAITS_S = (0.5, 1.0, 2.0, 4.0)
KAFKA_LOCK = Path(__file__).with_name("kafka.lock")
ZIPKIN_LOCK = Path(__file__).with_name("zipkin.lock")


@dataclass(frozen=True)
class Artifact:
    group: str
    name: str
    version: str
    classifier: str = ""

    @property
    def file_name(self) -> str:
        suffix = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{suffix}.jar"

    @property
    def path(self) -> str:
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file_name}"

    def __str__(self) -> str:
        return ":".join(part for part in (self.group, self.name, self.version, self.classifier) if part)


@dataclass(frozen=True)
class Locked:
    artifact: Artifact
    sha256: str


def read_lock(lock: Path) -> list[Locked]:
    """Lines of `group:artifact:version[:classifier] sha256`; `#` begins a comment."""
    locked = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([^:\s]+:[^:\s]+:[^:\s]+(?::[^:\s]+)?) ([0-9a-f]{64})", line.strip())
        if match is None:
            raise JarUnavailable(
                f"{lock}, line {number}, is not `group:artifact:version sha256`: restore the file from git."
            )
        locked.append(Locked(Artifact(*match[1].split(":")), match[2]))
    return locked


def jar_cache() -> Path:
    """Shared between checkouts: `$KEFU_CACHE/jars`, by default below `$XDG_CACHE_HOME` or `~/.cache`."""
    chosen = os.environ.get("KEFU_CACHE")
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kefu"
    return base.absolute() / "jars"


def maven_repository() -> str:
    return (os.environ.get("KEFU_MAVEN_REPO") or MAVEN_CENTRAL).rstrip("/")


def missing(locked: Sequence[Locked], cache: Path) -> list[Locked]:
    return [each for each in locked if not _is_whole(cache / each.artifact.file_name, each.sha256)]


async def fetch(locked: Sequence[Locked], *, cache: Path | None = None, repository: str | None = None) -> list[Path]:
    """The jars' paths, in the lock's order; what the cache lacks is fetched first. Raises JarUnavailable."""
    folder = cache or jar_cache()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = await asyncio.to_thread(missing, locked, folder)
    if wanted:
        await _fetch_all(wanted, folder, repository or maven_repository())
    return [folder / each.artifact.file_name for each in locked]


async def _fetch_all(wanted: Sequence[Locked], folder: Path, repository: str) -> None:
    slots = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(follow_redirects=True, timeout=30, verify=_trust()) as client:

        async def one(each: Locked) -> None:
            async with slots:
                await _fetch_one(client, each, folder, repository)

        tasks = [asyncio.create_task(one(each)) for each in wanted]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _fetch_one(client: httpx.AsyncClient, each: Locked, folder: Path, repository: str) -> None:
    problem = ""
    for wait_s in (*WAITS_S, None):
        try:
            await _download(client, each, folder, repository)
            return
        except httpx.HTTPStatusError as error:
            problem = f"HTTP {error.response.status_code}"
            if error.response.status_code in (401, 403, 404):
                break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = str(error) or type(error).__name__
        except _WrongHash as error:
            problem = f"its SHA-256 is {error.found}, not {each.sha256} as locked"
        if wait_s is not None:
            await asyncio.sleep(wait_s)
    raise JarUnavailable(
        f"Cannot fetch {each.artifact} from {without_password(repository)}: {problem}. "
        "Check the network, or set KEFU_MAVEN_REPO to a mirror of Maven Central."
    )


def _trust() -> ssl.SSLContext:
    """The machine's own authorities, which a company's mirror may need, and the public ones where it has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class _WrongHash(Exception):
    def __init__(self, found: str) -> None:
        self.found = found


async def _download(client: httpx.AsyncClient, each: Locked, folder: Path, repository: str) -> None:
    target = folder / each.artifact.file_name
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    digest = hashlib.sha256()
    try:
        address = f"{repository}/{each.artifact.path}"
        async with client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            with draft.open("wb") as file:
                async for piece in response.aiter_raw(2**18):
                    digest.update(piece)
                    file.write(piece)
        if digest.hexdigest() != each.sha256:
            raise _WrongHash(digest.hexdigest())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
