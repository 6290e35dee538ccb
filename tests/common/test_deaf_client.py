"""A Kafka client that waits for ever, as one was seen to do after its broker was killed."""

import asyncio

import pytest

from kefu_common.kafka import consumer as consuming_module
from tests.common.harness import Bench, eventually, ticked


async def test_a_client_that_hears_nothing_is_taken_anew_and_nothing_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming_module, "_ANSWER_S", 0.3)
    monkeypatch.setattr(consuming_module, "_DEAF_AFTER_S", 1.0)
    consuming = bench.consuming()
    await consuming.consumer.start()
    await bench.post(ticked(1))

    async def has(*numbers: int) -> bool:
        return await bench.applied() == list(numbers)

    await eventually(lambda: has(1))
    deaf = consuming.consumer._consumer()

    async def for_ever(*_args: object, **_kwargs: object) -> None:
        await asyncio.Event().wait()

    # What every request of the client goes through: from now on none of them ends.
    monkeypatch.setattr(deaf._client, "send", for_ever)
    await bench.post(ticked(2))
    await eventually(lambda: consuming.consumer._consumer() is not deaf, 40)
    await bench.post(ticked(3))
    await eventually(lambda: has(1, 2, 3), 40)
    await consuming.consumer.stop()
