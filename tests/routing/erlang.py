"""The queue that Erlang solved in 1917: Poisson arrivals, exponential service, and nobody loses patience.

What an M/M/c queue does in the mean, and how far the mean of so many arrivals may honestly lie from it.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import sqrt


@dataclass(frozen=True)
class Erlang:
    """`agents` who each take `service_s` in the mean, and are busy for the share `load` of their time."""

    agents: int
    load: float
    service_s: float

    @property
    def arrivals_per_s(self) -> float:
        """λ."""
        return self.load * self.agents / self.service_s

    @property
    def waiting_share(self) -> float:
        """How many must wait at all: Erlang C, by way of Erlang B's recursion."""
        offered, blocked = self.load * self.agents, 1.0
        for n in range(1, self.agents + 1):
            blocked = offered * blocked / (n + offered * blocked)
        return blocked / (1 - self.load * (1 - blocked))

    @property
    def mean_wait_s(self) -> float:
        """Over all, those who do not wait included."""
        return self.waiting_share * self.service_s / (self.agents * (1 - self.load))

    def relative_error(self, arrivals: int) -> float:
        """The standard error of the mean wait of so many arrivals in a row, as a share of the mean wait.

        Waits follow on each other, so this is far more than the spread of single waits suggests. It is that of the
        time-average of the queue's length (by Little's law the same thing), which is known exactly: the asymptotic
        variance of a birth-death process is 2 Σ_i (Σ_{j≤i} (f_j - f̄) π_j)² / (λ π_i).
        Source: W. Whitt, Asymptotic formulas for Markov processes with applications to simulation, Operations
        Research 40 (1992). Counting waits instead of time varies a little less (Glynn and Whitt 1989), never more.
        """
        shares = self._shares()
        waiting = [max(0, n - self.agents) for n in range(len(shares))]
        mean = sum(n * share for n, share in zip(waiting, shares, strict=True))
        sums = accumulate((n - mean) * share for n, share in zip(waiting, shares, strict=True))
        per_s = 2 * sum(s * s / (self.arrivals_per_s * share) for s, share in zip(sums, shares, strict=True))
        return sqrt(per_s * self.arrivals_per_s / arrivals) / mean

    def _shares(self) -> list[float]:
        """How much of the time so many are there, waiting or served, up to where it hardly ever happens."""
        weights = [1.0]
        while len(weights) <= self.agents or weights[-1] > 1e-12 * max(weights):
            weights.append(weights[-1] * self.load * self.agents / min(len(weights), self.agents))
        total = sum(weights)
        return [weight / total for weight in weights]
