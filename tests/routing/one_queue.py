"""One group on the telephone, simulated event by event: the pure engine decides, an injected clock passes."""

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from random import Random

from kefu_common.events.directory import Capacity
from kefu_common.events.words import Channel
from kefu_routing.domain.assignment import Waiting, assign
from kefu_routing.domain.strategies import Candidate
from tests.routing.builders import SALES, a_candidate, a_waiting, later
from tests.routing.erlang import Erlang

WARM_UP = 5_000
"""Arrivals that do not count, since the first ones find everybody free."""


class OneQueue:
    """Calls come and end as Erlang assumed; who takes which call, and when, is left to `assign`."""

    def __init__(self, model: Erlang, seed: int) -> None:
        self._model = model
        self._random = Random(seed)
        names = [f"a{number:02}" for number in range(model.agents)]
        self._team = {name: a_candidate(name, capacity=Capacity(call=1)) for name in names}
        self._waiting: OrderedDict[object, tuple[Waiting, float]] = OrderedDict()
        self._ends: list[tuple[float, str]] = []
        """When each call in hand will end, and whose it is."""

    def mean_wait_s(self, arrivals: int) -> float:
        """Over so many calls in the order of their answers, those that did not wait included."""
        return sum(islice(self._waits_s(), WARM_UP, WARM_UP + arrivals)) / arrivals

    def _waits_s(self) -> Iterator[float]:
        """For ever: at each arrival and each departure the engine is asked, as the assigner would ask it."""
        arrival = 0.0
        while True:
            if self._ends and self._ends[0][0] <= arrival:
                now, agent = heappop(self._ends)
                _hang_up(self._team[agent])
            else:
                now = arrival
                call = a_waiting(Channel.CALL, since=now)
                self._waiting[call.ticket] = (call, now)
                arrival = now + self._random.expovariate(self._model.arrivals_per_s)
            yield from self._assign(now)

    def _assign(self, now: float) -> Iterator[float]:
        """Shows the whole team, and one call more than there are hands: to leave it waiting is the engine's part."""
        free = self._model.agents - len(self._ends)
        head = [call for call, _ in islice(self._waiting.values(), free + 1)]
        for decision in assign(head, {SALES: list(self._team.values())}, later(now)):
            _, since = self._waiting.pop(decision.ticket)
            heappush(self._ends, (now + self._random.expovariate(1 / self._model.service_s), decision.agent))
            yield now - since


def _hang_up(agent: Candidate) -> None:
    """The engine itself counts what it gives out; what comes back, its caller takes off."""
    agent.held[Channel.CALL] -= 1
