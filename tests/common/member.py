"""A consumer as a process of its own, to be killed: `python -m tests.common.member <slot> [hang]`.

With `hang` it commits its first batch's transaction and then stands still, before the offsets are committed.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

from kefu_common.kafka.batch import Received
from tests.common.harness import Bench, Consuming, Ticked
from tests.conftest import World


class Hanging(Consuming):
    """Says on standard output that it has committed, and never returns."""

    async def apply(self, batch: Sequence[Received[Ticked]]) -> None:
        """As its parent, once."""
        await super().apply(batch)
        print("committed", flush=True)
        await asyncio.Event().wait()


async def main(slot: str, kind: type[Consuming]) -> None:
    """Run until killed."""
    dsn = os.environ["KEFU_POSTGRES"]
    world = World(os.environ["KEFU_KAFKA"], os.environ["KEFU_TOPIC_PREFIX"], {}, "", "")
    async with Bench(world, dsn) as bench:
        consuming = kind(bench, slot=slot, batch_size=20)
        await consuming.consumer.start()
        print("started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Hanging if "hang" in sys.argv else Consuming))
