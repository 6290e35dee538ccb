import asyncio
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kefu_local import jars
from kefu_local.errors import JarUnavailable
from kefu_local.jars import KAFKA_LOCK, ZIPKIN_LOCK, Artifact, Locked, fetch, read_lock

JAR = Artifact("org.example", "thing", "1.0", "exec")
CONTENT = b"not really a jar"
LOCKED = Locked(JAR, hashlib.sha256(CONTENT).hexdigest())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A Maven repository with one jar."""
    file = tmp_path / "repository" / JAR.path
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "repository"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "WAITS_S", ())


async def test_a_jar_is_fetched_once_and_mended_when_damaged(repository: str, tmp_path: Path) -> None:
    [path] = await fetch([LOCKED], cache=tmp_path / "cache", repository=repository)
    assert path.read_bytes() == CONTENT
    assert await fetch([LOCKED], cache=tmp_path / "cache", repository="http://127.0.0.1:9") == [path]

    path.write_bytes(b"damaged")
    await fetch([LOCKED], cache=tmp_path / "cache", repository=repository)
    assert path.read_bytes() == CONTENT


async def test_a_jar_with_another_hash_is_refused_and_not_kept(repository: str, tmp_path: Path) -> None:
    with pytest.raises(JarUnavailable, match="SHA-256"):
        await fetch([Locked(JAR, "0" * 64)], cache=tmp_path / "cache", repository=repository)
    assert not await asyncio.to_thread(lambda: list((tmp_path / "cache").iterdir()))


async def test_a_repository_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(JarUnavailable, match="KEFU_MAVEN_REPO") as caught:
        await fetch([LOCKED], cache=tmp_path / "cache", repository="http://me:secret@127.0.0.1:9/maven")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("lock", [KAFKA_LOCK, ZIPKIN_LOCK])
def test_our_locks_can_be_read_and_hold_no_addresses(lock: Path) -> None:
    assert read_lock(lock)
    assert "://" not in lock.read_text()


def test_a_broken_lock_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("a:b:1 nothex\n")
    with pytest.raises(JarUnavailable, match="line 1"):
        read_lock(tmp_path / "x.lock")
