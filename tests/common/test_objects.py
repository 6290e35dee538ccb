"""The object store: a local folder, and a real S3 server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kefu_common.attachments import Attachment, parse_ref
from kefu_common.objects import ObjectMissing, Objects, ObjectsAway
from tests import tools
from tests.intake.running import free_port, until

CONTENT = "发票".encode() * 300_000
FILE = Attachment.of(CONTENT, "text/plain")


@pytest.fixture(params=["folder", "s3"])
async def objects(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Objects]:
    if request.param == "folder":
        yield Objects(str(tmp_path / "objects"))
        return
    port = free_port()
    (tmp_path / "data" / "kefu").mkdir(parents=True)
    settings = {
        "s3proxy.endpoint": f"http://127.0.0.1:{port}",
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": "me",
        "s3proxy.credential": "geheim",
        "jclouds.provider": "filesystem",
        "jclouds.filesystem.basedir": str(tmp_path / "data"),
    }
    config = tmp_path / "s3proxy.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            await tools.java(),
            "-Xmx64m",
            "-jar",
            await tools.jar("s3proxy"),
            "--properties",
            config,
            stdout=log,
            stderr=log,
        )
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "geheim",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        await until(lambda: _listens(port), 30)
        yield Objects("s3://kefu/attachments")
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_file_is_found_again_and_only_by_its_account(objects: Objects) -> None:
    for _ in range(2):
        await objects.put("acme", FILE, CONTENT)
    opened = await objects.open("acme", FILE)
    assert (opened.size, b"".join([piece async for piece in opened.pieces])) == (len(CONTENT), CONTENT)
    with pytest.raises(ObjectMissing):
        await objects.open("b-corp", FILE)


async def test_a_store_that_does_not_answer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = Objects("s3://kefu")
    with pytest.raises(ObjectsAway):
        await away.put("acme", FILE, CONTENT)
    with pytest.raises(ObjectsAway):
        await away.open("acme", FILE)


def test_a_reference_says_what_the_file_is() -> None:
    assert parse_ref(FILE.ref) == FILE
    assert FILE.path("acme").startswith("acme/")
    for wrong in ("", "a/1/b/c", f"{'0' * 64}/x/text/plain", f"{'0' * 64}/1/text", f"../{FILE.ref}", f"{FILE.ref}\n"):
        assert parse_ref(wrong) is None, wrong
