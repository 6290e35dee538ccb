"""`make bench`: measures Kefu beside plain loops on this machine, and says which targets are reached.

`python -m tests.bench [a] [b] [c] [d] [e] [f] [--quick]`; without letters everything. Exit code 1: a target is missed.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable

from kefu_local.errors import LocalError
from tests.bench import accept, adapters, dispatch, routing, whole
from tests.bench.figures import Figure, Part, machine, show

_AT_MOST_S = 300.0
_DISPATCH = dispatch.Size(200_000, 1_000, chats=8_000, pairs=5, replays=3, decisions=3, warm_up_s=8, seconds=10)
_DISPATCH_AT_MOST_S = 600.0
"""Two thirds of it where nothing else runs: twenty runs, each of two processes on a database of its own."""


async def _measure(letters: set[str], quick: bool) -> list[Part]:
    parts: list[Part] = []
    if "a" in letters:
        size = accept.Size(1, 1, 2) if quick else accept.Size(5, 1.5, 3)
        parts += await _timed("(a)", accept.measure(size))
    if "b" in letters:
        chats = routing.Size(1, 4_000) if quick else routing.Size(3, 20_000)
        parts += await _timed("(b)", routing.measure(chats))
    if "e" in letters:
        posts = adapters.Size(1, 2, 5_000) if quick else adapters.Size(3, 5, 200_000)
        parts += await _timed("(e)", adapters.measure(posts))
    if "f" in letters:
        rounds = dispatch.Size(5_000, 1_000, 1_000, 1, 1, 1, 1, 2) if quick else _DISPATCH
        parts += await _timed("(f)", dispatch.measure(rounds), _DISPATCH_AT_MOST_S)
    if letters & {"c", "d"}:
        steps = whole.Size(3, 5, 5) if quick else whole.Size(5, 30, 30)
        parts += await _timed("(c), (d)", whole.measure(steps, latency="c" in letters, memory="d" in letters))
    return parts


async def _timed(name: str, work: Awaitable[list[Part]], at_most_s: float = _AT_MOST_S) -> list[Part]:
    started = time.monotonic()
    try:
        async with asyncio.timeout(at_most_s):
            parts = await work
    except (RuntimeError, TimeoutError, LocalError) as error:
        # A figure without a value counts as missed; the other parts go on.
        parts = [Part(f"{name} could not be measured: {error!r}", [Figure(name, "", target=1)])]
    for part in parts:
        print(show(part), flush=True)
    print(f"   took {time.monotonic() - started:.0f} s", flush=True)
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=["a", "b", "c", "d", "e", "f", []], help="which to measure (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: shows that it runs, not how fast")
    arguments = parser.parse_args()
    # A topic that was just made has no leader for a moment; the clients try again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    print(machine(), flush=True)
    parts = asyncio.run(_measure(set(arguments.parts or "abefcd"), arguments.quick))
    return 1 if any(f.is_missed for p in parts for f in p.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
