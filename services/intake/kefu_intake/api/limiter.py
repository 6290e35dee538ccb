"""Each key's rate, and how its answers tell of it (draft-ietf-httpapi-ratelimit-headers-10)."""

from collections.abc import Callable

from kefu_common.http.auth import Principal
from kefu_common.http.problems import TooManyRequests
from kefu_intake.domain.rates import BURST_S, Rate, Standing, pay, standing


class Limiter:
    """What keys with a rate have posted lately; of one process, which enforces its share."""

    def __init__(self, replicas: int, clock: Callable[[], float]) -> None:
        self._replicas = replicas
        self._clock = clock
        self._paid_until: dict[tuple[str, str], float] = {}

    def check(self, who: Principal) -> None:
        """Raises `TooManyRequests` over the key's rate."""
        if who.rate_per_s is None:
            return
        now = self._standing(who, who.rate_per_s)
        if not now.may_post:
            headers = {"Retry-After": str(max(1, now.reset_s)), **self.headers(who)}
            raise TooManyRequests(f"the key may post {who.rate_per_s} events a second", headers=headers)

    def count(self, who: Principal, events: int) -> None:
        """So many events were posted, whatever became of them."""
        if who.rate_per_s is not None:
            place = (who.account, who.key)
            paid_until = self._paid_until.get(place, 0.0)
            self._paid_until[place] = pay(self._rate(who.rate_per_s), paid_until, self._clock(), max(1, events))

    def headers(self, who: Principal) -> dict[str, str]:
        """What an answer says of the key's rate; nothing for one without."""
        if who.rate_per_s is None:
            return {}
        rate, now = self._rate(who.rate_per_s), self._standing(who, who.rate_per_s)
        return {
            "RateLimit-Policy": f'"events";q={rate.burst};w={BURST_S:.0f}',
            "RateLimit": f'"events";r={now.remaining};t={now.reset_s}',
        }

    def _rate(self, per_s: int) -> Rate:
        return Rate(per_s / self._replicas)

    def _standing(self, who: Principal, per_s: int) -> Standing:
        return standing(self._rate(per_s), self._paid_until.get((who.account, who.key), 0.0), self._clock())
