"""(b) How many chats a second routing takes from the topic and offers, beside loops that decide nothing."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from kefu_local.databases import clone_database, service_dsns
from tests.bench import account
from tests.bench.figures import Part, Process, rate, rounds, seen
from tests.bench.offered import seconds_until_all
from tests.bench.servers import MIGRATED, Servers, World, module, run, servers, service

TARGET = 0.4
TEMPLATE = "bench_account"
_WITHIN_S = 90.0
_BATCH = 500


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    chats: int


async def measure(size: Size) -> list[Part]:
    """Record once, then rounds in turn, each with topics and a database of its own; one process at a time."""
    part = Part(
        f"(b) routing: {size.chats:,} chat.started on the topic -> ticket.offered,"
        f" {account.GROUPS} groups of {account.AGENTS_PER_GROUP} agents, one process each"
    )
    product: list[float] = []
    replayed: list[float] = []
    inserted: list[float] = []
    async with servers() as own:
        await _make_template(own)
        recording = own.folder / "recording.pickle"
        await _route(own, part, size, module("record_routing", str(own.port_base + 2), str(recording)), "recording")
        for number in range(size.rounds):
            replayed.append(await _replay(own, part, size, recording))
            product.append(await _route(own, part, size, service("routing", own.port_base + 2), f"routing-{number}"))
            inserted.append(await _insert(own, part, size))
        part.processes += seen(own.pids("kafka", "postgres"))
    part.figures.append(rate("chats offered / loop that writes and relays the same", product, replayed, TARGET))
    part.figures.append(rate("chats offered / loop with one insert per batch", product, inserted))
    for name, rates in (("routing", product), ("same rows", replayed), ("one insert", inserted)):
        part.notes.append(rounds(name, rates))
    return [part]


async def _make_template(own: Servers) -> None:
    await clone_database(own.admin_dsn, MIGRATED, TEMPLATE)
    await account.put_into_database(service_dsns(own.admin_dsn, TEMPLATE, own.passwords)["routing"], publish=False)


async def _world(own: Servers, size: Size) -> World:
    world = await own.world(TEMPLATE)
    await account.put_chats(world.kafka, world.prefix, size.chats)
    return world


async def _route(own: Servers, part: Part, size: Size, argv: tuple[str, ...], name: str) -> float:
    world = await _world(own, size)
    async with own.serving(name, argv, own.port_base + 2, world.env()) as pid:
        seconds = await seconds_until_all(world, size.chats, _WITHIN_S)
        part.processes += seen({name: pid})
    return size.chats / seconds


async def _replay(own: Servers, part: Part, size: Size, recording: Path) -> float:
    world = await _world(own, size)
    loop = asyncio.create_task(run(module("plain_loop", "replay", str(recording)), world.env(), _WITHIN_S))
    try:
        seconds = await seconds_until_all(world, size.chats, _WITHIN_S)
        part.processes.append(Process(**json.loads(await loop)["process"]))
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    return size.chats / seconds


async def _insert(own: Servers, part: Part, size: Size) -> float:
    world = await _world(own, size)
    loop = module("plain_loop", "insert", str(size.chats), str(_BATCH))
    found = json.loads(await run(loop, world.env(), _WITHIN_S))
    part.processes.append(Process(**found["process"]))
    return size.chats / float(found["seconds"])
