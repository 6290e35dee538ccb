"""Sending until there is a clear answer: every error after the request was written may mean that Kefu has it."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from kefu_client.events import FieldError, GaveUp, Refused

_AGAIN: Final = frozenset({408, 429})
_LONGEST_RETRY_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on, and how long to wait in between: at first, and at most."""

    give_up_after_s: float = 300.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 10.0

    def waits(self) -> Iterator[float]:
        """Growing waits, each with some chance in it so that not all come back together."""
        wait_s = self.first_wait_s
        while True:
            yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            wait_s = min(wait_s * 2, self.longest_wait_s)


async def send(
    http: httpx.AsyncClient,
    path: str,
    content: bytes,
    headers: Mapping[str, str],
    patience: Patience,
    repeating: Callable[[], None],
) -> httpx.Response:
    """Post the same bytes until they are answered for good; a success. `repeating` is called before each repetition.

    Raises:
        Refused: 4xx.
        GaveUp: nothing but 429, 5xx and broken connections for `give_up_after_s`.
    """
    deadline = time.monotonic() + patience.give_up_after_s
    for wait_s in patience.waits():
        try:
            answer = await http.post(path, content=content, headers=dict(headers))
        except httpx.TransportError as error:
            problem = type(error).__name__
        else:
            if answer.is_success:
                return answer
            if answer.status_code < 500 and answer.status_code not in _AGAIN:
                raise refusal(answer)
            problem = str(answer.status_code)
            wait_s = max(wait_s, retry_after_s(answer))
        if time.monotonic() + wait_s > deadline:
            break
        await asyncio.sleep(wait_s)
        repeating()
    raise GaveUp(f"{path} has not answered for {patience.give_up_after_s:g} s: {problem}")


def retry_after_s(answer: httpx.Response) -> float:
    """What the answer asks to wait, in seconds; 0 where it does not say, or says nonsense."""
    given = answer.headers.get("retry-after", "")
    return min(float(given), _LONGEST_RETRY_AFTER_S) if given.isdecimal() else 0.0


def refusal(answer: httpx.Response) -> Refused:
    """What a 4xx says."""
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}
    return Refused(answer.status_code, str(problem.get("detail", answer.reason_phrase)), field_errors(problem))


def field_errors(problem: Mapping[str, Any]) -> list[FieldError]:
    """The fields that a problem, or an array's item, complains about."""
    return [FieldError(str(e.get("path", "")), str(e.get("message", ""))) for e in problem.get("errors") or []]
