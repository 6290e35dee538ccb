"""What intake answers while Kafka is away, and that it loses nothing which it had accepted."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from kefu_common.events.envelope import read_event
from kefu_common.events.interactions import INTERACTION_MODELS
from tests.intake.broker import Broker, a_broker
from tests.intake.building import a_post
from tests.intake.conftest import seed
from tests.intake.running import Intake, running_intake, until

BACK_WITHIN_S = 60.0
AT_ONCE_S = 1.0


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with a_broker(tmp_path_factory.mktemp("away")) as made:
        yield made


@pytest.fixture(scope="module")
async def aside(broker: Broker, run_folder: Path) -> AsyncIterator[Intake]:
    """An intake that was started before there was any Kafka, with a small window."""
    log = run_folder / "intake-aside.log"
    async with running_intake(
        broker.server.address, "", log, {"KEFU_IN_FLIGHT_EVENTS": "20"}, is_harmed=True
    ) as intake:
        answer = await intake.post("chats", a_post())
        ready = await intake.client.get("/readyz")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert ready.status_code == 503
        assert ready.json()["reasons"] == ["directory: not read to its end yet", "kafka: no broker answers"]

        await broker.start()
        await seed(intake)
        await until(lambda: is_taken(intake), BACK_WITHIN_S)
        yield intake


async def is_taken(intake: Intake) -> bool:
    return (await intake.post("chats", a_post(interaction="probe"))).status_code == 202


async def is_ready(intake: Intake) -> bool:
    return (await intake.client.get("/readyz")).status_code == 200


async def are_in_flight(intake: Intake, count: int) -> bool:
    return f"kefu_events_in_flight {count}.0\n" in (await intake.client.get("/metrics")).text


async def timed(intake: Intake, post: object) -> tuple[httpx.Response, float]:
    """The answer and the seconds that it took."""
    started = time.monotonic()
    answer = await intake.post("chats", post)
    return answer, time.monotonic() - started


async def test_it_becomes_ready_when_kafka_comes(aside: Intake) -> None:
    await until(lambda: is_ready(aside), BACK_WITHIN_S)


async def test_a_kafka_that_does_not_answer_gives_503_within_5_s_and_then_at_once(
    aside: Intake, broker: Broker
) -> None:
    await broker.freeze()
    try:
        first, first_s = await timed(aside, a_post(id="stopped", interaction="stopped"))
        second, second_s = await timed(aside, [a_post(id="2"), a_post(id=7)])
        third, third_s = await timed(aside, a_post(site="nowhere"))
        unready = await aside.client.get("/readyz")
    finally:
        broker.signal(signal.SIGCONT)

    assert (first.status_code, first.headers["retry-after"]) == (503, "1")
    assert 4.5 < first_s < 6
    assert [item["status"] for item in second.json()["items"]] == [503, 422]
    assert second.headers["retry-after"] == "1"
    assert second_s < AT_ONCE_S
    assert (third.status_code, third_s < AT_ONCE_S) == (422, True)
    assert unready.json()["reasons"] == ["kafka: no broker answers"]

    await until(lambda: is_taken(aside), BACK_WITHIN_S)
    await until(lambda: is_ready(aside), BACK_WITHIN_S)
    # and posting again what nobody knows about gives the same event, however often it was written
    again = await aside.post("chats", a_post(id="stopped", interaction="stopped"))
    assert {str(event.id) for event in await aside.events("stopped")} == {again.json()["event"]}


async def test_more_than_the_window_is_refused_at_once(aside: Intake, broker: Broker) -> None:
    await until(lambda: is_taken(aside), BACK_WITHIN_S)
    await broker.freeze()
    try:
        waiting = [asyncio.create_task(timed(aside, a_post(id=f"w{n}"))) for n in range(15)]
        await until(lambda: are_in_flight(aside, 15), 4)
        answer, seconds = await timed(aside, [a_post(id=f"a{n}") for n in range(10)])
    finally:
        broker.signal(signal.SIGCONT)
    statuses = [item["status"] for item in answer.json()["items"]]
    details = [item["errors"][0]["message"] for item in answer.json()["items"]]
    assert statuses == [503] * 10
    assert [("too many" in detail) for detail in details] == [False] * 5 + [True] * 5
    assert seconds < 6
    await asyncio.gather(*waiting)
    await until(lambda: is_taken(aside), BACK_WITHIN_S)


async def test_a_killed_kafka_loses_nothing_that_was_accepted(aside: Intake, broker: Broker) -> None:
    accepted: set[str] = set()
    refused = 0

    async def post_until(deadline: float, worker: int) -> None:
        nonlocal refused
        number = 0
        while time.monotonic() < deadline:
            number += 1
            answer = await aside.post("chats", a_post(id=f"k{worker}-{number}", interaction=f"killed-{worker}"))
            if answer.status_code == 202:
                accepted.add(answer.json()["event"])
            else:
                assert answer.status_code == 503, answer.text
                refused += 1
                await asyncio.sleep(0.05)  # as a polite adapter would

    started = time.monotonic()
    workers = [asyncio.create_task(post_until(started + 8, n)) for n in range(8)]

    async def enough() -> bool:
        return len(accepted) > 50

    await until(enough, 4)
    broker.signal(signal.SIGKILL)
    # Kept away until somebody was refused: by itself it may be back before the first time-out.
    await broker.supervisor.halt("kafka-aside")

    async def somebody_was_refused() -> bool:
        return refused > 0

    await until(somebody_was_refused, 8)
    await broker.supervisor.resume("kafka-aside")
    await asyncio.gather(*workers)

    await until(lambda: is_taken(aside), BACK_WITHIN_S)
    written = {str(read_event(r.value, INTERACTION_MODELS).id) for r in await aside.records()}
    assert refused > 0
    assert accepted - written == set()


async def test_it_stops_in_order_while_kafka_does_not_answer(aside: Intake, broker: Broker, run_folder: Path) -> None:
    await until(lambda: is_taken(aside), BACK_WITHIN_S)
    log = run_folder / "intake-stopping.log"
    async with running_intake(broker.server.address, "", log, is_harmed=True) as other:
        await until(lambda: is_taken(other), BACK_WITHIN_S)
        await broker.freeze()
        try:
            hanging = asyncio.create_task(timed(other, a_post()))
            await until(lambda: are_in_flight(other, 1), 4)
            other.process.send_signal(signal.SIGTERM)
            answer, _ = await hanging
            async with asyncio.timeout(20):
                code = await other.process.wait()
        finally:
            broker.signal(signal.SIGCONT)
    assert (answer.status_code, code) == (503, 0)
    await until(lambda: is_taken(aside), BACK_WITHIN_S)
