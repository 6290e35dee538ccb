"""Killing (-9) parts of a running stack: at random moments, and at exact points."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from kefu_local.stack import Stack
from tests.e2e.kefu import until
from tests.faults.orders import POINTS, Orders

PARTS = ("intake", "routing", "notifications", "reporting", "kafka", "postgres")


@dataclass
class Killer:
    """Kills, and sees to it that each part came back. `kills` says what was killed, and when, in seconds."""

    stack: Stack
    orders: Orders
    random: random.Random
    kills: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def at_random(self, pause_s: tuple[float, float]) -> None:
        """One part after the other, in random order, at random moments."""
        for part in self.random.sample(PARTS, len(PARTS)):
            await asyncio.sleep(self.random.uniform(*pause_s))
            async with asyncio.timeout(90):
                self._start_again_soon(part)
                self._note(part)
                await self.stack.supervisor.kill(part)
                await self.stack.supervisor.wait_ready(part, within_s=80)

    async def round(self, points: int, most: int, pause_s: tuple[float, float]) -> None:
        """Each service at so many of its points, and at the same time every part once at random moments."""
        services = [self._at_points(service, points, most) for service in POINTS]
        await asyncio.gather(self.at_random(pause_s), *services)

    async def _at_points(self, service: str, points: int, most: int) -> None:
        """One point after the other, in random order, each at its first to `most`-th passing."""
        for point in self.random.sample(POINTS[service], min(points, len(POINTS[service]))):
            await self.at_point(service, point, self.random.randint(1, most))

    async def at_point(self, service: str, point: str, count: int = 1) -> None:
        """The service right there; returns when it is back."""
        lives = self.stack.supervisor.child(service).lives
        self._start_again_soon(service)
        self.orders.arm(service, point, count)

        async def is_back() -> bool:
            return not self.orders.is_armed(service, point) and self.stack.supervisor.child(service).lives > lives

        await until(f"{service} was killed {point} ({count}) and came back", is_back, within_s=90)
        self._note(f"{service} {point} {count}")

    def _start_again_soon(self, name: str) -> None:
        """Deaths close together would make the supervisor's waits grow; here each death stands for itself."""
        self.stack.supervisor.child(name).wait_s = 0.0

    def _note(self, what: str) -> None:
        self.kills.append(f"{time.monotonic() - self.began:.1f} {what}")
