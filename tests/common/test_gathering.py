"""What comes in while a batch is worked off is one batch, though the Kafka client holds only the first of it."""

import asyncio
from collections.abc import Sequence

import pytest

from kefu_common.kafka.batch import Received
from tests.common.harness import Bench, Ticked, eventually, ticked


async def test_what_came_meanwhile_is_applied_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Generous, so that a slow machine tells no less than a fast one.
    monkeypatch.setattr("kefu_common.kafka.consumer._MORE_WITHIN_MS", 500)
    consuming = bench.consuming()
    began, go_on = asyncio.Event(), asyncio.Event()
    apply = consuming.apply

    async def when_allowed(batch: Sequence[Received[Ticked]]) -> None:
        began.set()
        await go_on.wait()
        await apply(batch)

    object.__setattr__(consuming.consumer._applying._source, "apply", when_allowed)
    await bench.post(ticked(0, "k0"))
    await consuming.consumer.start()
    await began.wait()
    await bench.post(ticked(1, "k1"))
    held_by_the_client = consuming.consumer._consumer()._fetcher._records
    await eventually(lambda: bool(held_by_the_client))
    await bench.post(*(ticked(n, f"k{n}") for n in range(2, 30)))
    go_on.set()

    async def all_applied() -> bool:
        return len(await bench.applied()) == 30

    await eventually(all_applied)
    assert await bench.db.pool.fetchval("select count(distinct xmin::text) from applied") == 2
