"""(a) How many single posts a second intake accepts, beside a bare FastAPI endpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench import account
from tests.bench.figures import Figure, Part, Process, cpu_s, rate, rounds, seen
from tests.bench.servers import Servers, module, run, servers, service

TARGET = 0.7
CONNECTIONS = 64


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    warm_up_s: float
    seconds: float


@dataclass(frozen=True)
class _Round:
    rate: float
    cpu_us: float
    """CPU time of the server for one post: hardly touched by what else the machine does."""
    processes: list[Process]


async def measure(size: Size) -> list[Part]:
    """Rounds in turn; one server runs at a time, with one uvicorn worker."""
    part = Part("(a) intake: single posts, one in ten traced, one uvicorn worker each")
    product: list[_Round] = []
    bare: list[_Round] = []
    async with servers() as own:
        world = await own.world()
        await account.put_onto_topic(world.kafka, world.prefix)
        sink, first, second = (own.port_base + offset for offset in (7, 1, 2))
        env = {
            **world.env(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
            "KEFU_TRACE_RATIO": "0",
        }
        async with own.serving("otlp-sink", module("otlp_sink", str(sink)), sink, {}, "/"):
            for number in range(size.rounds):
                for name, argv, port, found in (
                    (f"bare-{number}", module("bare_endpoint", str(first)), first, bare),
                    (f"intake-{number}", service("intake", second), second, product),
                ):
                    found.append(await _one_round(own, name, argv, port, env, size))
                    part.processes += found[-1].processes
            part.processes += seen(own.pids("kafka", "otlp-sink"))
    product_rates, bare_rates = [r.rate for r in product], [r.rate for r in bare]
    part.figures.append(rate("intake posts", product_rates, bare_rates, TARGET))
    part.figures.append(_cpu(product, bare))
    part.notes += [rounds("intake", product_rates), rounds("bare endpoint", bare_rates)]
    part.notes.append(f"load: 1 process, {CONNECTIONS} keep-alive connections")
    return [part]


async def _one_round(
    own: Servers, name: str, argv: tuple[str, ...], port: int, env: Mapping[str, str], size: Size
) -> _Round:
    async with own.serving(name, argv, port, env) as pid:
        before = cpu_s(pid)
        load = module("accept_load", str(port), str(CONNECTIONS), str(size.warm_up_s), str(size.seconds))
        found = json.loads(await run(load, {}, within_s=size.warm_up_s + size.seconds + 30))
        if found["refused"]:
            raise RuntimeError(f"{name} refused {found['refused']} posts")
        return _Round(
            found["rate"],
            (cpu_s(pid) - before) / found["accepted"] * 1e6,
            [*seen({name: pid}), Process(**found["process"])],
        )


def _cpu(product: list[_Round], bare: list[_Round]) -> Figure:
    mine, theirs = median(r.cpu_us for r in product), median(r.cpu_us for r in bare)
    return Figure("its CPU time for one post", f"{mine:.0f} us", f"{theirs:.0f} us", theirs / mine)
