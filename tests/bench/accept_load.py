"""The load of (a): so many connections, each posting its next event as soon as the last one was answered."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

import uvloop

from tests.bench.account import KEY, a_run, chat_form
from tests.bench.figures import myself
from tests.bench.http_posts import Connection, Requests, connect


class Load:
    """A closed loop. Counts what was answered with 202 within the measured time."""

    def __init__(self) -> None:
        self._requests = Requests("/v1/chats", KEY)
        self._run = a_run()
        self._at = datetime.now(UTC)
        self._sent = 0
        self._is_over = False
        self.accepted = 0
        self.refused = 0

    async def run(self, port: int, connections: int, warm_up_s: float, seconds: float) -> float:
        """Post for so long; the rate of what was accepted."""
        opened = await connect(port, connections, self._answered)
        for connection in opened:
            self._post(connection)
        await asyncio.sleep(warm_up_s)
        before, started = self.accepted, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (self.accepted - before) / (time.perf_counter() - started)
        self._is_over = True
        for connection in opened:
            connection.close()
        return rate

    def _answered(self, connection: Connection, status: int) -> None:
        if status == 202:
            self.accepted += 1
        else:
            self.refused += 1
        if not self._is_over:
            self._post(connection)

    def _post(self, connection: Connection) -> None:
        self._sent += 1
        connection.send(self._requests.request(self._sent, chat_form(self._run, self._sent, self._at)))


def main() -> None:
    """PORT CONNECTIONS WARM_UP_S SECONDS: prints a JSON object."""
    port, connections, warm_up_s, seconds = sys.argv[1:]
    load = Load()
    rate = uvloop.run(load.run(int(port), int(connections), float(warm_up_s), float(seconds)))
    print(json.dumps({"rate": rate, "accepted": load.accepted, "refused": load.refused, "process": myself("load")}))


if __name__ == "__main__":
    main()
