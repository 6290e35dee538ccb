"""The client against servers that misbehave: what it sends again, what it does not, and that nothing is done twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kefu_client import (
    Accepted,
    Delivered,
    Failed,
    FileMarks,
    GaveUp,
    Instruction,
    Kefu,
    MemoryMarks,
    Outcome,
    Refused,
    Signing,
)
from kefu_client.checking.play import Play
from kefu_client.checking.stage import Stage, Trick
from kefu_client.marks import Marks
from kefu_client.sending import Patience
from kefu_common.http.signing import read
from tests.client.adapters import QUICK, a_start
from tests.intake.running import free_port, until


def _is_true(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return holds()

    return probe


Answer = Callable[[Request, Any], Awaitable[Response]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server whose every answer is the test's."""

    async def serve(request: Request) -> Response:
        body = await request.body()
        return await answer(request, json.loads(body) if body[:1] in (b"{", b"[") else body)

    port = free_port()
    app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    running = asyncio.create_task(server.serve())
    await until(_is_true(lambda: server.started), 10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def staged() -> AsyncIterator[tuple[Stage, Play, str]]:
    """Kefu, played."""
    stage, port = Stage(), free_port()
    server = await stage.serve("127.0.0.1", port)
    try:
        yield stage, Play(stage, 5.0, "chat", "i-1"), f"http://127.0.0.1:{port}"
    finally:
        server.close()
        stage.close()


def accepted(event: dict[str, Any]) -> dict[str, Any]:
    return {"id": event["id"], "interaction": event["interaction"], "event": f"e-{event['id']}"}


@pytest.mark.parametrize("trick", list(Trick))
async def test_a_post_without_a_clear_answer_is_sent_again_unchanged(trick: Trick) -> None:
    async with staged() as (stage, _, url), Kefu(url, url, "key", patience=QUICK) as kefu:
        stage.tricks.append(trick)
        assert await kefu.post(a_start()) == Accepted("start", "start")
        first, second = stage.posts
        assert (first.trick, second.trick, first.event) == (trick, None, second.event)
        assert second.at - first.at >= (1.0 if trick is Trick.UNAVAILABLE else 0.0)
        assert kefu.repeats == 1


async def test_what_is_refused_is_told_and_not_sent_again() -> None:
    posts = []

    async def answer(_request: Request, body: Any) -> Response:
        posts.append(body)
        problem = {"detail": "some fields", "errors": [{"path": "data.x", "message": "unknown field"}]}
        return JSONResponse(problem, 422)

    async with answering(answer) as url, Kefu(url, url, "key", patience=QUICK) as kefu:
        with pytest.raises(Refused, match=r"data\.x: unknown field") as caught:
            await kefu.post(a_start())
        assert (caught.value.status, len(posts)) == (422, 1)
        with pytest.raises(Refused, match="type: expected one that begins with"):
            await kefu.post(a_start("walk.started"))


async def test_it_gives_up_after_its_time() -> None:
    patience = Patience(give_up_after_s=0.5, first_wait_s=0.05)
    async with Kefu("http://127.0.0.1:9", "http://127.0.0.1:9", "key", patience=patience) as kefu:
        with pytest.raises(GaveUp, match="ConnectError"):
            await kefu.post(a_start())
        with pytest.raises(GaveUp):
            await kefu.post_many([a_start()])


async def test_of_an_array_only_what_has_no_answer_is_sent_again_and_what_follows_it_in_its_interaction() -> None:
    arrays: list[list[str]] = []

    async def answer(_request: Request, body: Any) -> Response:
        arrays.append([event["id"] for event in body])
        items: list[dict[str, Any]] = []
        for event in body:
            if event["id"] == "a2" and len(arrays) == 1:
                items.append({"id": "a2", "status": 503, "errors": []})
            elif event["id"] == "b2":
                items.append({"id": "b2", "status": 422, "errors": [{"path": "data", "message": "required"}]})
            else:
                items.append({"id": event["id"], "status": 202, "event": f"e-{event['id']}"})
        return JSONResponse({"items": items})

    events = [a_start(id=f"{i}{n}", interaction=i) for n in range(1, 4) for i in "ab"]
    async with answering(answer) as url, Kefu(url, url, "key", patience=QUICK) as kefu:
        results = await kefu.post_many([*events, a_start("walk.started", id="c")])
    assert arrays == [["a1", "b1", "a2", "b2", "a3", "b3"], ["a2", "a3"]]
    assert [r.id if isinstance(r, Accepted) else r.status for r in results] == ["a1", "b1", "a2", 422, "a3", "b3", 422]


async def test_an_interaction_s_events_stay_in_order_over_all_paths() -> None:
    seen: list[tuple[str, list[str]]] = []

    async def answer(request: Request, body: Any) -> Response:
        seen.append((request.url.path, [event["id"] for event in body]))
        return JSONResponse({"items": [{"id": e["id"], "status": 202, "event": "e"} for e in body]})

    events = [
        a_start(id="a1", interaction="a"),
        a_start("rating.given", id="a2", interaction="a", data={"score": 5}),
        a_start(id="b1", interaction="b"),
        a_start("chat.ended", id="a3", interaction="a"),
        a_start("rating.given", id="b2", interaction="b", data={"score": 5}),
    ]
    async with answering(answer) as url, Kefu(url, url, "key") as kefu:
        await kefu.post_many(events)
    assert seen == [("/v1/chats", ["a1", "b1"]), ("/v1/ratings", ["a2", "b2"]), ("/v1/chats", ["a3"])]


async def test_many_events_come_in_arrays_that_kefu_takes() -> None:
    sizes: list[tuple[int, int]] = []

    async def answer(request: Request, body: Any) -> Response:
        sizes.append((len(body), int(request.headers["content-length"])))
        return JSONResponse({"items": [{"id": e["id"], "status": 202, "event": "e"} for e in body]})

    small = [a_start(id=str(n)) for n in range(2500)]
    large = [a_start("chat.message", id=f"l{n}", data={"text": "长" * 20_000}) for n in range(300)]
    async with answering(answer) as url, Kefu(url, url, "key") as kefu:
        assert len(await kefu.post_many([*small, *large])) == 2800
    assert max(count for count, _ in sizes) <= 1000
    assert max(size for _, size in sizes) <= 8 * 1024 * 1024


async def test_a_batching_adapter_gets_each_event_s_own_answer() -> None:
    arrays: list[int] = []

    async def answer(_request: Request, body: Any) -> Response:
        arrays.append(len(body))
        bad = [{"id": e["id"], "status": 422, "errors": []} for e in body if e["id"] == "13"]
        good = [{"id": e["id"], "status": 202, "event": "e"} for e in body if e["id"] != "13"]
        return JSONResponse({"items": sorted(good + bad, key=lambda item: [e["id"] for e in body].index(item["id"]))})

    async with answering(answer) as url, Kefu(url, url, "key") as kefu:
        async with kefu.batching(max_wait_s=0.02, max_events=40, max_waiting=60) as batch:
            posting = [asyncio.create_task(batch.post(a_start(id=str(n)))) for n in range(100)]
            results = await asyncio.gather(*posting, return_exceptions=True)
            last = asyncio.create_task(batch.post(a_start(id="last")))
            await asyncio.sleep(0)
        assert await last == Accepted("last", "e")
    assert [n for n, r in enumerate(results) if isinstance(r, Refused)] == [13]
    assert sum(isinstance(r, Accepted) for r in results) == 99
    assert max(arrays) <= 40


async def test_files_and_mails_go_as_they_are() -> None:
    seen: dict[str, Any] = {}

    async def answer(request: Request, body: Any) -> Response:
        seen[request.url.path] = (request.headers["content-type"], dict(request.query_params), body)
        if request.url.path == "/v1/attachments":
            return JSONResponse({"ref": "r", "type": "image/png", "size": 3, "sha256": "s"}, 201)
        return JSONResponse({"id": "m", "interaction": "i", "event": "e"}, 202)

    async with answering(answer) as url, Kefu(url, url, "key") as kefu:
        stored = await kefu.upload(b"png", "image/png", name="图.png")
        assert (stored.ref, stored.type, stored.size) == ("r", "image/png", 3)
        assert await kefu.post_mail(b"From: a@b\r\n\r\nx", "shop") == Accepted("m", "e")
    assert seen["/v1/attachments"] == ("image/png", {"name": "图.png"}, b"png")
    assert seen["/v1/emails/raw"] == ("message/rfc822", {"site": "shop"}, b"From: a@b\r\n\r\nx")


async def test_a_key_that_signs_sends_no_secret() -> None:
    good = []

    async def answer(request: Request, body: Any) -> Response:
        signed = read(dict(request.headers.raw))
        assert signed is not None
        target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        good.append(signed.is_by("s3cret", request.method, target, await request.body()))
        good.append("authorization" not in request.headers and (signed.account, signed.key) == ("demo", "pbx"))
        return JSONResponse(accepted(body) if isinstance(body, dict) else {"id": "m", "event": "e"}, 202)

    async with answering(answer) as url, Kefu(url, url, signing=Signing("demo", "pbx", "s3cret")) as kefu:
        await kefu.post(a_start())
        await kefu.post_mail(b"From: a@b\r\n\r\nx", "shop & co")
    assert good == [True] * 4
    with pytest.raises(ValueError, match="either key or signing"):
        Kefu(url, url)


@asynccontextmanager
async def following(
    url: str, handle: Callable[[Instruction], Awaitable[Outcome | None]], marks: Marks | None = None
) -> AsyncIterator[None]:
    opened = asyncio.Event()
    async with Kefu(url, url, "key", patience=QUICK) as kefu:
        task = asyncio.create_task(kefu.follow(handle, marks, on_open=opened.set))
        async with asyncio.timeout(5):
            await opened.wait()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_after_a_restart_nothing_is_done_twice_and_nothing_left_out(tmp_path: Path) -> None:
    done: list[str] = []
    marks = FileMarks(tmp_path / "marks.json")

    async def handle(instruction: Instruction) -> Outcome:
        done.append(instruction.data["text"])
        return Delivered()

    async with staged() as (stage, play, url):
        first, second, third = (play.words(f"第{n}句") for n in range(3))
        async with following(url, handle, marks):
            await stage.give(first)
            await stage.give(second)
            assert await play.is_answered(second)
        await stage.give(first)
        await stage.give(third)
        async with following(url, handle, marks):
            assert await play.is_answered(third)
        assert done == ["第0句", "第1句", "第2句"]
        # behind the last of which it was sure; what it did beyond that it knows by its id
        assert stage.opened[1] in ("1", "2")


async def test_an_outcome_that_kefu_may_not_have_is_told_again_word_for_word(tmp_path: Path) -> None:
    marks, done = FileMarks(tmp_path / "marks.json"), []

    async def handle(instruction: Instruction) -> Outcome:
        done.append(instruction.id)
        return Delivered()

    async with staged() as (stage, play, url):
        said = play.words("您好")
        async with following(url, handle, marks):
            stage.tricks += [Trick.UNAVAILABLE]
            await stage.give(said)
            assert await stage.until(lambda: bool(stage.posts), 5)
        # the adapter stops before it could tell again
        async with following(url, handle, marks):
            assert await stage.until(lambda: len(stage.posts) == 2, 5)
        first, second = stage.posts
        assert (first.event, done) == (second.event, [said["id"]])


async def test_a_handler_that_fails_is_an_outcome_and_the_next_goes_on() -> None:
    async def handle(instruction: Instruction) -> Outcome:
        if instruction.data["text"] == "坏":
            raise RuntimeError("a customer's words")
        return Delivered()

    async with staged() as (stage, play, url), following(url, handle):
        bad, good = play.words("坏"), play.words("好")
        await stage.give(bad)
        await stage.give(good)
        assert await play.is_answered(good)
        [failed] = play.outcomes(bad)
        assert (failed.type, failed.data["reason"]) == ("instruction.failed", "RuntimeError")


async def test_what_takes_longer_than_it_may_is_cancelled_and_has_expired() -> None:
    cancelled = asyncio.Event()

    async def handle(_instruction: Instruction) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Failed(None)

    async with staged() as (stage, play, url), following(url, handle):
        slow = play.words("慢", 0.3)
        await stage.give(slow)
        assert await play.is_answered(slow)
        [failed] = play.outcomes(slow)
        assert (failed.type, failed.data["reason"], cancelled.is_set()) == ("instruction.failed", "expired", True)


async def test_who_ends_in_order_still_answers_what_is_in_hand() -> None:
    begun, ending = asyncio.Event(), asyncio.Event()

    async def handle(_instruction: Instruction) -> Outcome:
        begun.set()
        await ending.wait()
        return Delivered()

    async with staged() as (stage, play, url), Kefu(url, url, "key", patience=QUICK) as kefu:
        opened = asyncio.Event()
        following = asyncio.create_task(kefu.follow(handle, on_open=opened.set, ending=ending))
        await opened.wait()
        said = play.words("最后一句")
        await stage.give(said)
        await begun.wait()
        ending.set()
        await following
        assert [outcome.type for outcome in play.outcomes(said)] == ["instruction.delivered"]


async def test_interactions_do_not_wait_for_each_other_and_within_one_all_is_in_order() -> None:
    gate = asyncio.Event()
    begun: list[str] = []

    async def handle(instruction: Instruction) -> Outcome:
        begun.append(f"{instruction.interaction} {instruction.data['text']}")
        if instruction.interaction == "slow":
            await gate.wait()
        return Delivered()

    async with staged() as (stage, play, url), following(url, handle):
        given = []
        for interaction, text in (("slow", "1"), ("slow", "2"), ("quick", "1"), ("quick", "2")):
            play.interaction = interaction
            given.append(play.words(text))
            await stage.give(given[-1])
        assert await play.is_answered(given[3])
        assert begun == ["slow 1", "quick 1", "quick 2"]
        gate.set()
        assert await play.is_answered(given[1])
        assert begun[-1] == "slow 2"


async def test_a_mark_that_is_no_longer_held_begins_from_now() -> None:
    marks_given = []
    event = {
        "id": str(uuid4()),
        "type": "kefu.chat.say",
        "source": "/sites/shop",
        "subject": "i-1",
        "time": datetime.now(UTC).isoformat(),
        "data": {"expires_at": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()},
    }
    outcomes: list[str] = []

    async def answer(request: Request, body: Any) -> Response:
        if request.method == "POST":
            outcomes.append(body["type"])
            return JSONResponse(accepted(body), 202)
        marks_given.append(request.headers.get("last-event-id"))
        if marks_given[-1] == "7":
            return Response(status_code=410)
        content = f"id: 9\n\nid: 10\ndata: {json.dumps(event)}\n\nid: 11\ndata: no JSON\n\n"
        return Response(content, media_type="text/event-stream")

    marks = MemoryMarks()
    marks.save(type(marks.load())("7"))

    async def handle(_instruction: Instruction) -> Outcome:
        return Delivered()

    async with answering(answer) as url, following(url, handle, marks):
        await until(_is_true(lambda: marks_given[-1:] == ["11"]), 5)
    # behind the mark without data as long as the instruction is in hand
    assert (marks_given[:2], set(marks_given[2:]) - {"9"}) == (["7", None], {"11"})
    assert outcomes == ["instruction.delivered"]


async def test_a_key_that_may_not_read_the_stream_is_told() -> None:
    async def answer(_request: Request, _body: Any) -> Response:
        return JSONResponse({"detail": "the key lacks the scope outbound:read"}, 403)

    async def handle(_instruction: Instruction) -> Outcome:
        return Delivered()

    async with answering(answer) as url, Kefu(url, url, "key") as kefu:
        with pytest.raises(Refused, match="outbound:read"):
            await kefu.follow(handle)
