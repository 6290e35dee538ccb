"""The load of (a) and (e): so many connections, each posting its next body as soon as the last one was answered.

With a rate the posts are due at even times instead, and each is timed from when it was due.
"""

import asyncio
import json
import sys
import time
from collections import deque
from datetime import UTC, datetime

import uvloop

from tests.bench.account import KEY, a_run, chat_form
from tests.bench.figures import myself
from tests.bench.http_posts import Connection, Requests, connect


class Load:
    """Counts what was answered with a success, and how long each post took."""

    def __init__(self, array: int) -> None:
        self._requests = Requests("/v1/chats", KEY)
        self._run = a_run()
        self._at = datetime.now(UTC)
        self._array = array
        self._sent = 0
        self._free: list[Connection] = []
        self._due: deque[float] = deque()
        self._began: dict[Connection, float] = {}
        self._is_paced = False
        self._is_over = False
        self.accepted = 0
        self.refused = 0
        self.latencies: list[float] = []

    async def run(self, port: int, connections: int, warm_up_s: float, seconds: float, rate: float) -> float:
        """Post for so long; the rate of what was accepted."""
        opened = await connect(port, connections, self._answered)
        self._is_paced = rate > 0
        pacing = asyncio.create_task(self._pace(opened, rate)) if self._is_paced else None
        if pacing is None:
            for connection in opened:
                self._post(connection, time.perf_counter())
        await asyncio.sleep(warm_up_s)
        self.latencies.clear()
        before, started = self.accepted, time.perf_counter()
        await asyncio.sleep(seconds)
        found = (self.accepted - before) / (time.perf_counter() - started)
        self._is_over = True
        if pacing is not None:
            pacing.cancel()
            await asyncio.wait([pacing])
        for connection in opened:
            connection.close()
        return found

    async def _pace(self, opened: list[Connection], rate: float) -> None:
        """Every post at its time, however the earlier ones fare; waiting for a free connection counts."""
        self._free = list(opened)
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            while due <= now:
                self._due.append(due)
                due += 1 / rate
            while self._due and self._free:
                self._post(self._free.pop(), self._due.popleft())
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def _answered(self, connection: Connection, status: int) -> None:
        self.latencies.append(time.perf_counter() - self._began[connection])
        if status < 300:
            self.accepted += self._array
        else:
            self.refused += self._array
        if self._is_over:
            return
        if not self._is_paced:
            self._post(connection, time.perf_counter())
        elif self._due:
            self._post(connection, self._due.popleft())
        else:
            self._free.append(connection)

    def _post(self, connection: Connection, began: float) -> None:
        self._began[connection] = began
        connection.send(self._requests.request(self._sent, self._body()))

    def _body(self) -> bytes:
        forms = []
        for _ in range(self._array):
            self._sent += 1
            forms.append(chat_form(self._run, self._sent, self._at))
        return forms[0] if self._array == 1 else b"[" + b",".join(forms) + b"]"


def main() -> None:
    """PORT CONNECTIONS WARM_UP_S SECONDS [ARRAY [RATE]]: prints a JSON object."""
    port, connections, warm_up_s, seconds, *more = sys.argv[1:]
    array, rate = int(more[0]) if more else 1, float(more[1]) if len(more) > 1 else 0.0
    load = Load(array)
    found = uvloop.run(load.run(int(port), int(connections), float(warm_up_s), float(seconds), rate))
    slowest = sorted(load.latencies)[int(len(load.latencies) * 0.99)] if load.latencies else 0.0
    answer = {"rate": found, "accepted": load.accepted, "refused": load.refused, "p99_ms": slowest * 1000}
    print(json.dumps({**answer, "process": myself("load")}))


if __name__ == "__main__":
    main()
