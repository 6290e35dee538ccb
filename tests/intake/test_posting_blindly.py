"""An adapter posts and retries blindly: through a Kafka that goes and comes, and an intake that stops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from kefu_client import Accepted, Event, Kefu
from kefu_client.sending import Patience
from kefu_common.events.envelope import read_event
from kefu_common.events.interactions import INTERACTION_MODELS
from tests.conftest import World
from tests.intake.broker import Broker, a_broker
from tests.intake.building import a_post
from tests.intake.conftest import knows, seed
from tests.intake.running import Intake, running_intake, until

ADAPTERS = 10
ARRAY = 50
IMPATIENT = Patience(give_up_after_s=150, first_wait_s=0.05, longest_wait_s=1.0)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with a_broker(tmp_path) as made:
        yield made


def an_event(adapter: int, number: int) -> Event:
    return {
        "id": f"{adapter}-{number}",
        "type": "chat.message",
        "site": "shop",
        "interaction": f"i-{adapter}",
        "occurred_at": datetime.now(UTC).isoformat(),
        "data": {"text": f"第{number}句"},
    }


async def adapter(url: str, number: int, events: int) -> list[Accepted]:
    """Posts its events in order, every third lot one by one and the others as arrays, until each has its answer."""
    accepted: list[Accepted] = []
    async with Kefu(url, url, "secret", patience=IMPATIENT, timeout_s=20) as kefu:
        for lot, start in enumerate(range(0, events, ARRAY)):
            batch = [an_event(number, n) for n in range(start, min(start + ARRAY, events))]
            if lot % 3:
                found = await kefu.post_many(batch)
                accepted += [each for each in found if isinstance(each, Accepted)]
            else:
                accepted += [await kefu.post(each) for each in batch]
    return accepted


@pytest.mark.parametrize("events", [2_000, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
async def test_every_202_is_in_the_topic_and_every_other_answer_is_safe_to_repeat(
    broker: Broker, tmp_path: Path, events: int
) -> None:
    # B-12
    await broker.start()
    async with running_intake(broker.server.address, "", tmp_path / "intake.log", is_harmed=True) as intake:
        await seed(intake)
        await until(lambda: knows(intake, "secret"), 20)
        posting = [
            asyncio.create_task(adapter(str(intake.client.base_url), n, events // ADAPTERS)) for n in range(ADAPTERS)
        ]
        await until(lambda: _have_come(intake, events // 10), 60)
        await broker.supervisor.halt("kafka-aside")
        await until(lambda: _is_refused(intake), 10)
        await broker.supervisor.resume("kafka-aside")
        accepted = [each for found in await asyncio.gather(*posting) for each in found]

        written = [read_event(record.value, INTERACTION_MODELS) for record in await intake.records()]
        ids = {str(event.id) for event in written if event.subject.startswith("i-")}
        assert len(accepted) == len({each.id for each in accepted}) == events
        assert {each.event for each in accepted} == ids
        # and within an interaction what is read for the first time comes in the order in which it was posted
        for n in range(ADAPTERS):
            seen = dict.fromkeys(event.id for event in written if event.subject == f"i-{n}")
            posted = [each.event for each in accepted if each.id.startswith(f"{n}-")]
            assert [str(id) for id in seen] == posted


async def _have_come(intake: Intake, count: int) -> bool:
    lines = (await intake.client.get("/metrics")).text.splitlines()
    name = 'kefu_events_accepted_total{type="kefu.chat.message"} '
    return any(line.startswith(name) and float(line.removeprefix(name)) > count for line in lines)


async def _is_refused(intake: Intake) -> bool:
    return (await intake.post("chats", a_post(interaction="probe"))).status_code == 503


async def test_an_intake_that_stops_resets_nobody_and_loses_no_202(world: World, tmp_path: Path) -> None:
    accepted: list[str] = []
    closed = 0
    others: list[str] = []
    refused = asyncio.Event()

    async def post_on(intake: Intake, worker: int) -> None:
        nonlocal closed
        async with httpx.AsyncClient(
            base_url=intake.client.base_url, headers={"Authorization": "Bearer secret"}
        ) as client:
            for number in range(100_000):
                post = a_post(id=f"{worker}-{number}", interaction=f"stop-{worker}")
                try:
                    answer = await client.post("/v1/chats", json=post)
                except httpx.ConnectError:
                    refused.set()
                    return
                except httpx.TransportError as error:
                    others.append(repr(error))
                    return
                if answer.status_code == 202:
                    accepted.append(answer.json()["event"])
                    closed += answer.headers.get("connection") == "close"
                else:
                    others.append(f"{answer.status_code} {answer.text}")

    async with running_intake(world.kafka, world.prefix, tmp_path / "intake.log") as intake:
        await seed(intake)
        await until(lambda: knows(intake, "secret"), 20)
        workers = [asyncio.create_task(post_on(intake, n)) for n in range(16)]
        await until(lambda: _have_come(intake, 200), 20)
        intake.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*workers)
        async with asyncio.timeout(20):
            assert await intake.process.wait() == 0
        written = {str(read_event(record.value, INTERACTION_MODELS).id) for record in await intake.records()}
    assert refused.is_set()
    assert others == []
    assert closed > 0
    assert set(accepted) - written == set()


async def test_while_it_stops_it_says_that_it_is_not_ready(world: World, tmp_path: Path) -> None:
    env = {"KEFU_DRAIN_S": "5"}
    async with running_intake(world.kafka, world.prefix, tmp_path / "intake.log", env) as intake:
        await seed(intake)
        await until(lambda: knows(intake, "secret"), 20)
        intake.process.send_signal(signal.SIGTERM)

        async def is_stopping() -> bool:
            return bool((await intake.client.get("/readyz")).json()["reasons"] == ["stopping"])

        await until(is_stopping, 3)
        assert (await intake.post("chats", a_post())).status_code == 202
