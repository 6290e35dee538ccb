"""(e) What adapters get of intake beside single posts: arrays, a quick answer under moderate load, and flat memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil

from tests.bench import account
from tests.bench.figures import Figure, Part, rate, rounds
from tests.bench.servers import Servers, module, run, servers, service

ARRAY = 100
ARRAYS_TARGET = 0.25
P99_TARGET = 2.0
FLAT_WITHIN = 0.1
CONNECTIONS = 64
ARRAYS_AT_ONCE = 8
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    posts: int
    """For the memory."""


async def measure(size: Size) -> list[Part]:
    """Everything on one Kafka, one server at a time, in turn."""
    part = Part("(e) intake: arrays of 100, the answer's p99 at a quarter of the peak, memory over many posts")
    async with servers() as own:
        world = await own.world()
        await account.put_onto_topic(world.kafka, world.prefix)
        env = {**world.env(), "KEFU_TRACE_RATIO": "0"}
        await _arrays(own, env, size, part)
        await _p99(own, env, size, part)
        await _memory(own, env, size, part)
    return [part]


async def _arrays(own: Servers, env: Mapping[str, str], size: Size, part: Part) -> None:
    product: list[float] = []
    raw: list[float] = []
    for number in range(size.rounds):
        command = module("raw_produce", str(ARRAYS_AT_ONCE), str(size.seconds))
        raw.append(json.loads(await run(command, env, within_s=size.seconds + 30))["rate"])
        async with _intake(own, env, f"arrays-{number}") as port:
            product.append((await _load(port, ARRAYS_AT_ONCE, size.seconds, ARRAY))["rate"])
    part.figures.append(rate("events in arrays of 100 / raw aiokafka", product, raw, ARRAYS_TARGET))
    part.notes += [rounds("arrays", product), rounds("raw aiokafka", raw)]


async def _p99(own: Servers, env: Mapping[str, str], size: Size, part: Part) -> None:
    """Both at the same rate: a quarter of what intake takes at most in this run."""
    async with _intake(own, env, "peak") as port:
        peak = (await _load(port, CONNECTIONS, size.seconds))["rate"]
    product: list[float] = []
    bare: list[float] = []
    for number in range(size.rounds):
        async with _bare(own, env, f"bare-{number}") as port:
            bare.append((await _load(port, CONNECTIONS, size.seconds, pace=peak / 4))["p99_ms"])
        async with _intake(own, env, f"paced-{number}") as port:
            product.append((await _load(port, CONNECTIONS, size.seconds, pace=peak / 4))["p99_ms"])
    mine, theirs = median(product), median(bare)
    name = f"p99 of a post at {peak / 4:,.0f}/s"
    part.figures.append(Figure(name, f"{mine:.1f} ms", f"{theirs:.1f} ms", mine / theirs, P99_TARGET, at_most=True))
    part.notes.append(f"p99, rounds: intake {_listed(product)}, bare endpoint {_listed(bare)} ms")


async def _memory(own: Servers, env: Mapping[str, str], size: Size, part: Part) -> None:
    seen: list[float] = []
    posted = 0
    async with _intake(own, env, "memory") as port:
        while posted < size.posts:
            found = await _load(port, CONNECTIONS, size.seconds)
            posted += found["accepted"]
            seen.append(psutil.Process(own.pids("memory")["memory"]).memory_info().rss / _MIB)
    change = max(abs(each - seen[0]) for each in seen) / seen[0]
    name = f"memory over {posted:,} posts"
    part.figures.append(Figure(name, f"{seen[-1]:.0f} MiB", f"{seen[0]:.0f} MiB", change, FLAT_WITHIN, at_most=True))
    part.notes.append(f"resident after each lot: {' '.join(f'{each:.0f}' for each in seen)} MiB")


async def _load(port: int, connections: int, seconds: float, array: int = 1, pace: float = 0.0) -> dict[str, Any]:
    command = module("accept_load", str(port), str(connections), "1", str(seconds), str(array), str(pace))
    found: dict[str, Any] = json.loads(await run(command, {}, within_s=seconds + 30))
    if found["refused"]:
        raise RuntimeError(f"{found['refused']} posts were refused")
    return found


def _intake(own: Servers, env: Mapping[str, str], name: str) -> Any:
    port = own.port_base + 2
    return _Serving(own, name, service("intake", port), port, env)


def _bare(own: Servers, env: Mapping[str, str], name: str) -> Any:
    port = own.port_base + 1
    return _Serving(own, name, module("bare_endpoint", str(port)), port, env)


class _Serving:
    """A server while the block runs; gives its port."""

    def __init__(self, own: Servers, name: str, argv: tuple[str, ...], port: int, env: Mapping[str, str]) -> None:
        self._port = port
        self._serving = own.serving(name, argv, port, env)

    async def __aenter__(self) -> int:
        await self._serving.__aenter__()
        return self._port

    async def __aexit__(self, *error: Any) -> None:
        await self._serving.__aexit__(*error)


def _listed(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
