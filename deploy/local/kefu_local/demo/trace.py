"""One interaction whose whole way can be looked at in the trace viewer."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

SAMPLED = "01"


class Showcase:
    """The adapter's own span, and the trace that begins with it."""

    def __init__(self) -> None:
        self.trace_id = secrets.token_hex(16)
        self._span_id = secrets.token_hex(8)
        self._used = False
        self._began_us = self._took_us = 0

    @contextmanager
    def once(self) -> Iterator[str | None]:
        """The `traceparent` for the first who asks, None for everybody else."""
        if self._used:
            yield None
            return
        self._used = True
        self._began_us = time.time_ns() // 1000
        try:
            yield f"00-{self.trace_id}-{self._span_id}-{SAMPLED}"
        finally:
            self._took_us = max(1, time.time_ns() // 1000 - self._began_us)

    async def publish(self, http: httpx.AsyncClient, traces: str | None) -> str | None:
        """Tells the viewer of the adapter's span, so that the trace has a root. Its address, if there is a viewer."""
        if traces is None or not self._used:
            return None
        span = {
            "traceId": self.trace_id,
            "id": self._span_id,
            "name": "message left",
            "kind": "CLIENT",
            "timestamp": self._began_us,
            "duration": self._took_us,
            "localEndpoint": {"serviceName": "demo-adapter"},
        }
        with suppress(httpx.TransportError):  # The viewer takes its time to start, and nothing needs it.
            await http.post(f"{traces}/api/v2/spans", json=[span])
        return f"{traces}/zipkin/traces/{self.trace_id}"
