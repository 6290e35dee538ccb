"""The shop's clock, which runs faster than ours."""

import asyncio
import time

OPENS_AT_HOUR = 9
HOUR_MIN = 60.0


class Pace:
    """`speed` minutes of the shop pass in one of ours. All durations are the shop's, unless a name says `real`."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began = time.monotonic()

    def start(self) -> None:
        """It is nine o'clock now."""
        self._began = time.monotonic()

    @property
    def real_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def minute(self) -> float:
        """Minutes since the shop opened."""
        return self.real_s / 60 * self.speed

    def clock(self) -> str:
        hours, minutes = divmod(int(self.minute), 60)
        return f"{OPENS_AT_HOUR + hours:02}:{minutes:02}"

    def real(self, seconds: float, at_least_real_s: float = 0.0) -> float:
        """How long that takes for us; at least what Kefu itself may need, which no speed shortens."""
        return max(seconds / self.speed, at_least_real_s)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    async def until(self, minute: float) -> None:
        await asyncio.sleep(max(0.0, minute * 60 / self.speed - self.real_s))
