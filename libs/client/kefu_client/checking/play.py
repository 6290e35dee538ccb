"""The play: each scene gives instructions or misbehaves, waits, and says what was wrong. Scenes build on each other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from kefu_client.checking.faults import faults_of_form, outcomes_of
from kefu_client.checking.stage import Posted, Stage, Trick

_STARTS: Final = {"call.started": "call", "chat.started": "chat"}
_SUCCESS: Final = frozenset({"instruction.done", "instruction.delivered", "instruction.read"})
_LATE_S: Final = 1.0
_CLOCKS_S: Final = 0.5
"""What an adapter's post may take on its way here."""
_NORMAL_S: Final = 60.0


@dataclass(slots=True)
class Play:
    """One run against one adapter."""

    stage: Stage
    within_s: float
    channel: str | None = None
    interaction: str | None = None
    site: str = "shop"
    first: dict[str, Any] = field(default_factory=dict)
    """The instruction of the scene `does`, which later scenes repeat."""

    def instruction(self, type: str, expires_s: float = _NORMAL_S, **data: Any) -> dict[str, Any]:
        """An instruction for the interaction."""
        now = datetime.now(UTC)
        return {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": f"/sites/{self.site}",
            "type": f"kefu.{type}",
            "subject": self.interaction,
            "time": now.isoformat(),
            "datacontenttype": "application/json",
            "account": "check",
            "data": {
                "ticket": str(uuid4()),
                "contact": str(uuid4()),
                "channel": self.channel,
                "expires_at": (now + timedelta(seconds=expires_s)).isoformat(),
                **data,
            },
        }

    def words(self, text: str, expires_s: float = _NORMAL_S) -> dict[str, Any]:
        """The plainest instruction of the channel: say something."""
        if self.channel == "call":
            return self.instruction("call.play", expires_s, text=text)
        return self.instruction("chat.say", expires_s, text=text, staff="a01", message=str(uuid4()))

    def outcomes(self, instruction: dict[str, Any]) -> list[Posted]:
        """What the adapter said of it so far."""
        return outcomes_of(self.stage.posts, instruction["id"])

    async def is_answered(self, instruction: dict[str, Any], within_s: float | None = None) -> bool:
        """Whether an outcome comes in time."""
        return await self.stage.until(lambda: bool(self.outcomes(instruction)), within_s or self.within_s)

    async def fence(self) -> list[str]:
        """Give one more and wait for its outcome: whatever came before it in the interaction is over then."""
        last = self.words("…")
        await self.stage.give(last)
        return [] if await self.is_answered(last) else ["the adapter answers no instruction any more"]


Scene = Callable[[Play], Awaitable[list[str]]]


async def connects(play: Play) -> list[str]:
    """It opens GET /v1/stream?feed=outbound."""
    if await play.stage.until(lambda: bool(play.stage.opened), play.within_s):
        return []
    return ["expected the stream of instructions to be opened"]


async def starts(play: Play) -> list[str]:
    """It posts call.started or chat.started."""
    if play.interaction is not None and play.channel is not None:
        return []

    def started() -> Posted | None:
        return next((p for p in play.stage.posts if p.type in _STARTS), None)

    await play.stage.until(lambda: started() is not None, play.within_s)
    post = started()
    if post is None:
        return ["expected call.started or chat.started: open a call or a chat, or name one with --interaction"]
    event = post.event
    play.channel = _STARTS[post.type]
    play.interaction = str(event.get("interaction", event.get("subject")))
    play.site = str(event.get("site", event.get("source"))).removeprefix("/sites/")
    return []


async def does(play: Play) -> list[str]:
    """It does an instruction, and says so once."""
    play.first = play.words("您好，请问有什么可以帮您？")
    await play.stage.give(play.first)
    if not await play.is_answered(play.first):
        return ["expected an outcome (instruction.done, .delivered, .read or .failed) with the instruction's id"]
    [outcome, *_] = play.outcomes(play.first)
    found = []
    if outcome.path not in ("/v1/outcomes", "/v1/events"):
        found.append(f"expected the outcome on /v1/outcomes, it came on {outcome.path}")
    if outcome.event.get("interaction", outcome.event.get("subject")) != play.interaction:
        found.append("expected the outcome on the instruction's interaction")
    if str(outcome.event.get("site", outcome.event.get("source"))).removeprefix("/sites/") != play.site:
        found.append("expected the outcome on the instruction's site")
    if outcome.type == "instruction.failed":
        found.append("it failed, though nothing was wrong")
    return found


async def once(play: Play) -> list[str]:
    """The same instruction again is not done twice."""
    await play.stage.give(play.first)
    return await play.fence() or _twice(play)


async def resumes(play: Play) -> list[str]:
    """After the stream breaks it comes back with Last-Event-ID, and does nothing twice."""
    before = len(play.stage.opened)
    known = {str(mark) for mark, _ in play.stage.frames}
    await play.stage.cut_streams()
    if not await play.stage.until(lambda: len(play.stage.opened) > before, play.within_s):
        return ["expected the stream to be opened again after it broke"]
    mark = play.stage.opened[before]
    found = [] if mark in known else ["expected Last-Event-ID with the id of an event that was received"]
    await play.stage.give(play.first)
    return found + (await play.fence() or _twice(play))


async def expired(play: Play) -> list[str]:
    """What is too late when it comes is not done."""
    late = play.words("太晚了", -5.0)
    await play.stage.give(late)
    return await play.fence() or _succeeded(play, late, "it had expired")


async def late(play: Play) -> list[str]:
    """What expires soon is done in time or not at all."""
    soon = play.words("快一点", _LATE_S)
    await play.stage.give(soon)
    await play.is_answered(soon, _LATE_S + play.within_s)
    limit = datetime.fromisoformat(soon["data"]["expires_at"]) + timedelta(seconds=_CLOCKS_S)
    found = [p for p in play.outcomes(soon) if p.type in _SUCCESS and _said_at(p) > limit]
    return ["it was done after expires_at"] if found else []


async def in_order(play: Play) -> list[str]:
    """Instructions of one interaction are done in their order."""
    given = [play.words(f"第{n}句") for n in range(1, 4)]
    for each in given:
        await play.stage.give(each)
    if not await play.stage.until(lambda: all(play.outcomes(each) for each in given), play.within_s):
        return ["expected an outcome for each of three instructions"]
    places = [play.stage.posts.index(play.outcomes(each)[0]) for each in given]
    return [] if places == sorted(places) else ["the outcomes came in another order than the instructions"]


async def tolerates(play: Play) -> list[str]:
    """An instruction of a type that it does not know does no harm."""
    unknown = play.instruction(f"{play.channel}.somersault")
    await play.stage.give(unknown)
    return await play.fence() or _succeeded(play, unknown, "nobody knows that type")


async def retries(play: Play) -> list[str]:
    """After 503 it posts the same again, not before Retry-After."""
    return await _again(play, Trick.UNAVAILABLE, at_least_s=0.9)


async def is_safe(play: Play) -> list[str]:
    """After a broken connection it posts the same again."""
    return await _again(play, Trick.DROP, at_least_s=0.0)


async def cancels(play: Play) -> list[str]:
    """A call whose ring was cancelled is not answered afterwards."""
    if play.channel != "call":
        return []
    offer: dict[str, Any] = {"agent": "a01", "phone": "8001", "offer": str(uuid4()), "fence": 1}
    await play.stage.give(play.instruction("call.ring", 15.0, **offer))
    await play.stage.give(play.instruction("call.cancel", **offer))
    before = len(play.stage.posts)
    found = await play.fence()
    if any(post.type == "call.answered" for post in play.stage.posts[before:]):
        found.append("call.answered came after call.cancel")
    return found


async def posts_well(play: Play) -> list[str]:
    """Every post is an event as the contract has it."""
    return play.stage.broken + faults_of_form(play.stage.posts)


SCENES: Final[dict[str, Scene]] = {
    "connects": connects,
    "starts": starts,
    "does": does,
    "once": once,
    "resumes": resumes,
    "expired": expired,
    "late": late,
    "in-order": in_order,
    "tolerates": tolerates,
    "retries": retries,
    "is-safe": is_safe,
    "cancels": cancels,
    "posts-well": posts_well,
}
"""By the names that `--only` takes; the first three must hold before any other makes sense."""
NEEDED: Final = ("connects", "starts", "does")


async def _again(play: Play, trick: Trick, at_least_s: float) -> list[str]:
    play.stage.tricks.append(trick)
    given = play.words("再试一次")
    await play.stage.give(given)

    def taken() -> list[Posted]:
        return [p for p in play.stage.posts if p.trick is None and p.data.get("instruction") == given["id"]]

    await play.stage.until(lambda: bool(taken()), play.within_s + at_least_s)
    tricked = next((p for p in play.stage.posts if p.trick is trick), None)
    if tricked is None:
        play.stage.tricks.clear()
        return ["expected a post that could be tried"]
    same = [p for p in play.stage.posts if p.trick is None and p.event.get("id") == tricked.event.get("id")]
    if not same:
        return [f"expected the same event again after: {trick.value}"]
    found = [] if same[0].event == tricked.event else ["the event came again with another body"]
    if same[0].at - tricked.at < at_least_s:
        found.append("it came again before Retry-After was over")
    return found


def _twice(play: Play) -> list[str]:
    outcomes = play.outcomes(play.first)
    types = [outcome.type for outcome in outcomes]
    return [f"expected one outcome, came {', '.join(types)} with different ids"] if len(set(types)) < len(types) else []


def _succeeded(play: Play, instruction: dict[str, Any], why: str) -> list[str]:
    found = [outcome.type for outcome in play.outcomes(instruction) if outcome.type in _SUCCESS]
    return [f"expected instruction.failed or nothing, since {why}; came {found[0]}"] if found else []


def _said_at(post: Posted) -> datetime:
    return datetime.fromisoformat(str(post.event.get("occurred_at", post.event.get("time"))))
