"""Following the directory: all of it, current, and alive when Kafka is not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from kefu_common.directory_follower import Directory, DirectoryFollower
from kefu_common.events.directory import ApiKey, DirectoryEntry, Group, Kind, Site
from kefu_common.events.envelope import Event
from kefu_common.ids import new_id
from kefu_common.kafka.topics import DIRECTORY, create_all
from tests.common.conftest import OwnServer
from tests.common.harness import eventually
from tests.conftest import World


def entry(kind: Kind, id: str, version: int, body: dict[str, Any] | None, deleted: bool = False) -> bytes:
    data = DirectoryEntry(kind=kind, object_id=id, version=version, deleted=deleted, body=body)
    now = datetime.now(UTC)
    return Event(new_id(), "kefu.directory.changed", "/directory", f"acme/{kind}/{id}", now, "acme", data).to_bytes()


def site(version: int, name: str) -> bytes:
    return entry("site", "shop", version, {"id": "shop", "name": name})


async def write(kafka: str, prefix: str, *values: bytes | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for value in values:
        await producer.send_and_wait(prefix + DIRECTORY.name, value, key=b"acme/site/shop")
    await producer.stop()


def name_of(directory: Directory) -> str | None:
    found = directory.get("acme", "site", Site, "shop")
    return found.name if found else None


@pytest.fixture
async def follower(world: World) -> AsyncIterator[DirectoryFollower]:
    made = DirectoryFollower(world.kafka, world.prefix, "test")
    await write(world.kafka, world.prefix, *(site(n, f"name {n}") for n in range(1, 3000)), site(5, "older"))
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def test_it_has_everything_once_it_says_so_and_then_stays_current(
    world: World, follower: DirectoryFollower
) -> None:
    assert follower.problem is not None
    async with asyncio.timeout(20):
        await follower.wait_until_caught_up()
    assert follower.problem is None
    assert name_of(follower.directory) == "name 2999"

    await write(world.kafka, world.prefix, site(2998, "late"), b"no JSON", None, site(3000, "new"))
    await eventually(lambda: name_of(follower.directory) == "new")
    await write(world.kafka, world.prefix, entry("site", "shop", 3001, None, deleted=True), site(2999, "ghost"))
    await eventually(lambda: name_of(follower.directory) is None)
    await write(world.kafka, world.prefix, site(3002, "again"))
    await eventually(lambda: name_of(follower.directory) == "again")


async def test_a_kafka_that_comes_late_and_is_killed_is_waited_for(own_kafka: OwnServer) -> None:
    prefix = f"t{new_id().hex[-8:]}."
    follower = DirectoryFollower(own_kafka.address, prefix, "test")
    await own_kafka.kill()
    task = asyncio.create_task(follower.run())
    await own_kafka.ready()
    await create_all(own_kafka.address, prefix, partitions=1)
    await write(own_kafka.address, prefix, site(1, "before"))
    await eventually(lambda: name_of(follower.directory) == "before", 40)
    await own_kafka.kill()
    await own_kafka.ready()
    await write(own_kafka.address, prefix, site(2, "after"))
    await eventually(lambda: name_of(follower.directory) == "after", 40)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


def key_body(hash: str) -> dict[str, Any]:
    return {"id": "main", "scopes": ["calls:write"], "hash": hash}


def test_a_key_that_is_changed_is_known_by_its_new_secret_only() -> None:
    directory = Directory()
    directory.apply("acme", "key", "main", 1, key_body("old"))
    directory.apply("acme", "key", "main", 2, key_body("new"))
    assert directory.key_by_hash("old") is None
    account, key = directory.key_by_hash("new") or ("", None)
    assert (account, key) == ("acme", ApiKey(id="main", scopes=["calls:write"], hash="new"))
    directory.apply("acme", "key", "main", 3, None)
    assert directory.key_by_hash("new") is None


def test_a_body_that_is_none_changes_nothing() -> None:
    directory = Directory()
    follower = DirectoryFollower("nowhere", "", "test")
    follower.directory = directory
    follower._take(entry("key", "main", 1, key_body("old")), 0)
    for broken in ({"id": "main"}, {}, None):
        follower._take(entry("key", "main", 2, broken), 1)
        assert directory.key_by_hash("old") is not None
    follower._take(entry("key", "main", 2, key_body("new")), 2)
    assert directory.key_by_hash("new") is not None


def test_accounts_are_apart_and_lists_are_in_order_of_id() -> None:
    directory = Directory()
    for account, id in (("acme", "b"), ("acme", "a"), ("other", "c")):
        directory.apply(account, "group", id, 1, {"id": id, "name": id, "leader": "x", "agents": ["x"]})
    assert [g.id for g in directory.all("acme", "group", Group)] == ["a", "b"]
    assert directory.get("other", "group", Group, "a") is None
    assert directory.get("acme", "group", Site, "a") is None


def test_what_a_newer_writer_added_is_ignored() -> None:
    directory = Directory()
    directory.apply("acme", "site", "shop", 1, {"id": "shop", "name": "店", "colour": "red"})
    assert name_of(directory) == "店"


def test_an_address_that_moved_is_its_new_owner_s_in_whatever_order_it_is_read() -> None:
    taken: dict[str, Any] = {"id": "a", "address": "service@shop.example", "site": "shop"}
    for order in ((0, 1), (1, 0)):
        directory = Directory()
        directory.apply("acme", "address", "a", 1, taken)
        changes = [("acme", 2, None), ("b-corp", 1, {**taken, "site": "b"})]
        for number in order:
            account, version, body = changes[number]
            directory.apply(account, "address", "a", version, body)
        assert directory.site_by_address("service@shop.example") == ("b-corp", "b")


def test_a_former_secret_is_known_until_the_key_forgets_it() -> None:
    directory = Directory()
    until = datetime.now(UTC).isoformat()
    key: dict[str, Any] = {"id": "k", "scopes": [], "hash": "new", "former": {"hash": "old", "until": until}}
    directory.apply("acme", "key", "k", 1, key)
    assert directory.key_by_hash("old") is not None
    assert directory.key_by_hash("new") == directory.key_by_hash("old")
    directory.apply("acme", "key", "k", 2, {**key, "former": None})
    assert directory.key_by_hash("new") is not None
    assert directory.key_by_hash("old") is None


async def test_a_kind_that_nobody_here_knows_changes_nothing(world: World, follower: DirectoryFollower) -> None:
    async with asyncio.timeout(20):
        await follower.wait_until_caught_up()
    stranger = DirectoryEntry(kind="shift", object_id="s", version=1, body={"id": "s"})
    event = Event(new_id(), "kefu.directory.changed", "/directory", "acme/shift/s", datetime.now(UTC), "acme", stranger)
    await write(world.kafka, world.prefix, event.to_bytes(), site(3001, "after"))
    await eventually(lambda: name_of(follower.directory) == "after")
