"""The bridge over real TCP: it passes the contract kit, comes back after a break, and says what Asterisk refuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kefu_adapters.asterisk import AmiRefused, Bridge, Login
from kefu_adapters.calls import Calls, Terms
from kefu_client import Kefu, MemoryMarks
from kefu_client.checking.play import SCENES, Play
from kefu_client.checking.run import run
from kefu_client.checking.stage import Stage
from tests.adapters.ami import Asterisk, an_asterisk, scenes_of
from tests.client.adapters import QUICK
from tests.intake.running import free_port

TERMS = Terms("shop", frozenset({"from-outside"}), agents={"8001": "a01"})
CALL = "1764064200.33"


@asynccontextmanager
async def bridged(url: str, port: int, secret: str = "geheim") -> AsyncIterator["asyncio.Task[None]"]:
    async with Kefu(url, url, "key", patience=QUICK) as kefu:
        task = asyncio.create_task(
            Bridge(kefu, Login("127.0.0.1", port, "kefu", secret), Calls(TERMS)).run(MemoryMarks())
        )
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def staged() -> AsyncIterator[tuple[Stage, str, Asterisk, int]]:
    stage, port = Stage(), free_port()
    server = await stage.serve("127.0.0.1", port)
    try:
        async with an_asterisk() as (asterisk, ami_port):
            yield stage, f"http://127.0.0.1:{port}", asterisk, ami_port
    finally:
        server.close()
        stage.close()


def types(stage: Stage) -> list[str]:
    return [post.type for post in stage.posts]


async def came(stage: Stage, holds: Callable[[], bool]) -> None:
    assert await stage.until(holds, 10), types(stage)


async def test_the_bridge_keeps_the_contract() -> None:
    port = free_port()
    said: list[str] = []
    async with an_asterisk() as (asterisk, ami_port):
        asterisk.refuses = frozenset()
        first = scenes_of("answered.ami", time.time(), CALL)[0]

        async def call_comes() -> None:
            await asterisk.until(lambda: bool(asterisk.asked("CoreShowChannels")))
            await asterisk.play(first)

        async with bridged(f"http://127.0.0.1:{port}", ami_port):
            calling = asyncio.create_task(call_comes())
            is_good = await run("127.0.0.1", port, list(SCENES), 5.0, say=said.append)
            await calling
        assert is_good, "\n".join(said)
        assert asterisk.asked("Setvar")[0]["Value"].startswith("您好")
        assert len(asterisk.asked("Originate")) == 1


async def test_a_call_is_rung_bridged_and_ended() -> None:
    async with staged() as (stage, url, asterisk, ami_port), bridged(url, ami_port):
        first, second, third = scenes_of("answered.ami", time.time(), CALL)
        await asterisk.until(lambda: bool(asterisk.asked("CoreShowChannels")))
        await asterisk.play(first)
        await came(stage, lambda: "call.started" in types(stage))
        play = Play(stage, 5.0, "call", CALL)
        ring = play.instruction("call.ring", 15.0, agent="a01", phone="8001", offer="o-1", fence=1)
        await stage.give(ring)
        await asterisk.until(lambda: bool(asterisk.asked("Originate")))
        [originate] = asterisk.asked("Originate")
        assert (originate["Channel"], originate["Data"]) == ("PJSIP/8001", "PJSIP/trunk-00000021")
        await asterisk.play(second, action=originate["ActionID"])
        await asterisk.play(third)
        await came(stage, lambda: {"call.ended", "instruction.done"} <= set(types(stage)))
        calls = [type for type in types(stage) if type.startswith("call.")]
        assert calls == ["call.started", "call.answered", "call.held", "call.resumed", "call.ended"]


async def test_after_a_break_it_logs_in_again_and_ends_what_is_gone() -> None:
    async with staged() as (stage, url, asterisk, ami_port), bridged(url, ami_port):
        await asterisk.until(lambda: bool(asterisk.asked("CoreShowChannels")))
        await asterisk.play(scenes_of("answered.ami", time.time(), CALL)[0])
        await came(stage, lambda: "call.started" in types(stage))
        await asterisk.hang_up()
        await asterisk.until(lambda: len(asterisk.asked("CoreShowChannels")) == 2)
        await came(stage, lambda: "call.ended" in types(stage))
        assert stage.posts[-1].data["cause"] == "lost"


async def test_what_asterisk_refuses_is_said() -> None:
    async with staged() as (stage, url, asterisk, ami_port), bridged(url, ami_port):
        asterisk.refuses = frozenset({"Originate", "Hangup"})
        await asterisk.until(lambda: bool(asterisk.asked("CoreShowChannels")))
        await asterisk.play(scenes_of("answered.ami", time.time(), CALL)[0])
        await came(stage, lambda: "call.started" in types(stage))
        play = Play(stage, 5.0, "call", CALL)
        data: dict[str, Any] = {"agent": "a01", "phone": "8001", "offer": "o-1", "fence": 1}
        ring, cancel = play.instruction("call.ring", 15.0, **data), play.instruction("call.cancel", **data)
        end, strange = play.instruction("call.hang_up"), play.instruction("call.somersault")
        play.interaction = "over"
        over = play.instruction("call.hang_up")
        for each in (ring, cancel, end, strange, over):
            await stage.give(each)
        given = {"ring": ring, "cancel": cancel, "end": end, "strange": strange, "over": over}
        for each in given.values():
            assert await play.is_answered(each)
        said = {
            name: [(o.type.rpartition(".")[2], o.data.get("reason")) for o in play.outcomes(e)]
            for name, e in given.items()
        }
        assert said == {
            "ring": [("failed", "No such channel")],
            "cancel": [("done", None)],
            "end": [("failed", "No such channel")],
            "strange": [("failed", "unsupported")],
            "over": [("failed", "the call is over")],
        }


async def test_a_wrong_secret_ends_it() -> None:
    async with staged() as (_, url, _, ami_port), bridged(url, ami_port, "wrong") as task:
        async with asyncio.timeout(10):
            await asyncio.wait([task])
        error = task.exception()
        assert isinstance(error, BaseExceptionGroup)
        with pytest.raises(AmiRefused):
            raise error.exceptions[0]
