"""(f) Two routing processes on a database that has been worked with: throughput, decision latency, and its growth."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from kefu_common.kafka.topics import INTERACTIONS
from kefu_local.databases import clone_database, service_dsns
from tests.bench import account, starting_gate
from tests.bench.figures import Figure, Part, Process, rate, rounds, seen
from tests.bench.filling import fill
from tests.bench.offered import last_offer
from tests.bench.servers import MIGRATED, Servers, World, beside, module, run, servers, service

RATIO_TARGET = 0.5
P99_TARGET_MS = 150.0
KEPT_TARGET = 0.85
"""Of the throughput with few tickets in the database: at most 15 % slower."""
PROCESSES = 2
FULL, ALMOST_EMPTY = "bench_full", "bench_almost_empty"
_GROUP = f"kefu.routing.{INTERACTIONS.name.removeprefix('kefu.')}"
_WITHIN_S = 60.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    tickets: int
    few: int
    chats: int
    pairs: int
    """Rounds with many and with few tickets in the database, in turn."""
    replays: int
    decisions: int
    """Rounds of the decision latency, each at half of a peak that was found right before it."""
    warm_up_s: float
    seconds: float
    """Of each such round, after the warm-up."""


@dataclass
class _Found:
    full: list[float] = field(default_factory=list)
    almost_empty: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)


async def measure(size: Size) -> list[Part]:
    """Everything on one Kafka and one PostgreSQL, each run with topics and a database of its own."""
    part = Part(
        f"(f) dispatch: {size.tickets:,} tickets in the database, {account.GROUPS * account.AGENTS_PER_GROUP:,} agents"
        f" in {account.GROUPS} groups, {PROCESSES} routing processes, {size.chats:,} chat.started a round"
    )
    found = _Found()
    async with servers() as own:
        await _make_templates(own, size)
        recordings = await _record(own, part, size)
        for number in range(size.pairs):
            # What a run leaves to the one after it, such as pages to be written, hits each of both as often.
            first_full = number % 2 == 0
            for is_full in (first_full, not first_full):
                rates = found.full if is_full else found.almost_empty
                rates.append(await _route(own, part, size, FULL if is_full else ALMOST_EMPTY, f"{number}"))
            if number < size.replays:
                found.replayed.append(await _replay(own, part, size, recordings))
        part.figures += _throughput(found)
        part.figures += await _latency(own, part, size, median(found.full))
        part.processes += seen(own.pids("kafka", "postgres"))
    part.notes += [
        rounds(f"{size.tickets:,} tickets", found.full),
        rounds(f"{size.few:,} tickets", found.almost_empty),
        rounds("same rows", found.replayed),
    ]
    return [part]


def _throughput(found: _Found) -> list[Figure]:
    kept = median(full / few for full, few in zip(found.full, found.almost_empty, strict=True))
    return [
        rate("chats offered / loops that write and relay the same", found.full, found.replayed, RATIO_TARGET),
        Figure(
            "chats offered / with few tickets in the database",
            f"{median(found.full):,.0f}/s",
            f"{median(found.almost_empty):,.0f}/s",
            kept,
            KEPT_TARGET,
        ),
    ]


async def _make_templates(own: Servers, size: Size) -> None:
    await clone_database(own.admin_dsn, MIGRATED, FULL)
    dsn = service_dsns(own.admin_dsn, FULL, own.passwords)["routing"]
    await account.put_into_database(dsn, publish=False, capacity=account.FOR_EVERYTHING)
    await clone_database(own.admin_dsn, FULL, ALMOST_EMPTY)
    await fill(service_dsns(own.admin_dsn, ALMOST_EMPTY, own.passwords)["routing"], size.few)
    await fill(dsn, size.tickets)


@asynccontextmanager
async def _world(own: Servers, template: str) -> AsyncIterator[World]:
    """A world whose database owes nothing for its making, and which goes away again.

    A copy knows the planner's statistics of its template, but not how many rows they were made of. Routing would take
    every table for a new one and analyse them all as soon as it begins, for seconds and with a core of its own.
    """
    world = await own.world(template)
    try:
        await _execute(world.dsn, "analyze")
        await _execute(own.admin_dsn, "checkpoint")
        yield world
    finally:
        await own.drop(world)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close()


@asynccontextmanager
async def _routing(
    own: Servers, world: World, name: str, argv: Sequence[tuple[str, ...]] = ()
) -> AsyncIterator[dict[str, int]]:
    """The routing processes, sharing the work; gives their pids."""
    ports = [own.port_base + 2 + slot for slot in range(PROCESSES)]
    commands = argv or [service("routing", port) for port in ports]
    async with AsyncExitStack() as stack:

        async def start(slot: int) -> int:
            env = {**world.env(), "KEFU_SLOT": str(slot)}
            serving = own.serving(f"{name}-{slot}", commands[slot], ports[slot], env)
            return await stack.enter_async_context(serving)

        pids = await asyncio.gather(*(start(slot) for slot in range(PROCESSES)))
        await starting_gate.until_shared(world, PROCESSES, _GROUP)
        yield {f"{name}-{slot}": pid for slot, pid in enumerate(pids)}


async def _from_the_gate(world: World, size: Size) -> float:
    """Chats a second, from the moment at which all of them are there and the processes may begin."""
    async with starting_gate.held_shut(world.dsn) as gate:
        await account.put_chats(world.kafka, world.prefix, size.chats)
        await starting_gate.until_waiting(world, PROCESSES)
    last = await last_offer(world, size.chats, _WITHIN_S)
    return size.chats / (last - gate.opened_at).total_seconds()


async def _route(own: Servers, part: Part, size: Size, template: str, name: str) -> float:
    async with _world(own, template) as world, _routing(own, world, f"{template}-{name}") as pids:
        found = await _from_the_gate(world, size)
        if name == "0":
            part.processes += seen(pids)
        return found


async def _record(own: Servers, part: Part, size: Size) -> list[Path]:
    files = [own.folder / f"recording-{slot}.pickle" for slot in range(PROCESSES)]
    commands = [
        module("record_routing", str(own.port_base + 2 + slot), str(file), "locks") for slot, file in enumerate(files)
    ]
    async with _world(own, FULL) as world, _routing(own, world, "recording", commands):
        await _from_the_gate(world, size)
    return files


async def _replay(own: Servers, part: Part, size: Size, recordings: list[Path]) -> float:
    async with _world(own, FULL) as world, AsyncExitStack() as stack:
        pids: dict[str, int] = {}
        for slot, recording in enumerate(recordings):
            command = module("plain_loop", "share", str(recording), str(slot), str(PROCESSES), str(size.chats))
            pids[f"loop-{slot}"] = await stack.enter_async_context(beside(command, world.env()))
        await starting_gate.until_shared(world, PROCESSES)
        found = await _from_the_gate(world, size)
        part.processes += seen(pids)
        return found


async def _latency(own: Servers, part: Part, size: Size, chats: float) -> list[Figure]:
    """At half of what the same load gets through when nothing holds it back, on a database of its own each time."""
    found: list[dict[str, Any]] = []
    for number in range(size.decisions):
        peak = (await _decisions(own, f"peak-{number}", "inf", size))["per_s"]
        at_half = await _decisions(own, f"latency-{number}", str(peak / 2), size)
        part.notes.append(
            f"decisions: at most {peak:,.0f}/s (a call is three events, a chat one; half of the chats' peak would be"
            f" {chats / 2:,.0f}/s); measured {at_half['decisions']:,}, {at_half['per_s']:,.0f}/s:"
            f" p50 {at_half['p50_ms']:.0f}, p95 {at_half['p95_ms']:.0f}, p99 {at_half['p99_ms']:.0f},"
            f" longest {at_half['longest_ms']:.0f} ms"
        )
        found.append(at_half)
    part.processes.append(Process(**found[0]["process"]))
    name = f"p99 free -> offered at {median(f['per_s'] for f in found):,.0f} decisions/s"
    p99 = median(f["p99_ms"] for f in found)
    return [Figure(name, "", value=p99, target=P99_TARGET_MS, unit=" ms", at_most=True)]


async def _decisions(own: Servers, name: str, rate: str, size: Size) -> dict[str, Any]:
    async with _world(own, FULL) as world, _routing(own, world, name):
        load = module("decision_load", rate, str(size.warm_up_s), str(size.seconds))
        within_s = size.warm_up_s + size.seconds + _WITHIN_S
        found: dict[str, Any] = json.loads(await run(load, world.env(), within_s=within_s))
        return found
