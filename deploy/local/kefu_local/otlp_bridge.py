"""Takes traces by OTLP/HTTP and hands them to a Zipkin server, so that one machine has a viewer.

Nobody waits for the viewer: spans lie in a bounded buffer while it is away, and the oldest are dropped and counted.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import httpx
from fastapi import FastAPI, Request, Response
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from kefu_local.web import serve_until_stopped
from kefu_local.zipkin_spans import ZipkinSpan, zipkin_spans

PROTOBUF = "application/x-protobuf"
KEPT_SPANS = 20_000
AT_ONCE = 1_000
BODY_LIMIT_BYTES = 32 * 2**20
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0


class Buffer:
    """Spans on their way. `forward` runs until it is cancelled."""

    def __init__(self, kept: int = KEPT_SPANS) -> None:
        self._spans: deque[ZipkinSpan] = deque(maxlen=kept)
        self._filled = asyncio.Event()
        self.dropped = 0
        self.forwarded = 0

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, spans: Iterable[ZipkinSpan]) -> None:
        for span in spans:
            self.dropped += len(self._spans) == self._spans.maxlen
            self._spans.append(span)
        self._filled.set()

    async def forward(self, zipkin_url: str) -> None:
        wait_s = FIRST_WAIT_S
        async with httpx.AsyncClient(base_url=zipkin_url, timeout=10, trust_env=False) as client:
            while True:
                await self._filled.wait()
                batch = [self._spans.popleft() for _ in range(min(AT_ONCE, len(self._spans)))]
                if not batch:
                    self._filled.clear()
                    continue
                if await _post(client, batch):
                    self.forwarded += len(batch)
                    wait_s = FIRST_WAIT_S
                else:
                    self._put_back(batch)
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _put_back(self, batch: list[ZipkinSpan]) -> None:
        room = (self._spans.maxlen or 0) - len(self._spans)
        self.dropped += max(0, len(batch) - room)
        self._spans.extendleft(reversed(batch[max(0, len(batch) - room) :]))


async def _post(client: httpx.AsyncClient, batch: list[ZipkinSpan]) -> bool:
    """False: try again. What Zipkin refuses for good counts as delivered, or it would block the rest."""
    try:
        response = await client.post("/api/v2/spans", json=batch)
    except httpx.HTTPError:
        return False
    return response.status_code < 500 and response.status_code != 429


def make_app(zipkin_url: str, buffer: Buffer) -> FastAPI:
    @asynccontextmanager
    async def forwarding(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(buffer.forward(zipkin_url), name="forward spans")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(title="Kefu OTLP bridge", docs_url=None, redoc_url=None, lifespan=forwarding)

    @app.get("/readyz")
    @app.get("/healthz")
    async def healthy() -> dict[str, int]:
        return {"waiting": len(buffer), "forwarded": buffer.forwarded, "dropped": buffer.dropped}

    @app.post("/v1/traces")
    async def traces(request: Request) -> Response:
        return await _take(request, buffer)

    return app


async def _take(request: Request, buffer: Buffer) -> Response:
    if request.headers.get("content-type", "").split(";")[0].strip() != PROTOBUF:
        return Response(f"send {PROTOBUF}", status_code=415)
    body = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        try:
            body = _gunzip(body)
        except zlib.error:
            return Response("not gzip", status_code=400)
    if len(body) > BODY_LIMIT_BYTES:
        return Response(f"over {BODY_LIMIT_BYTES} bytes", status_code=413)
    try:
        export = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return Response("not an ExportTraceServiceRequest", status_code=400)
    buffer.add(zipkin_spans(export))
    return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)


def _gunzip(body: bytes) -> bytes:
    # One byte more than allowed is enough to know.
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body, BODY_LIMIT_BYTES + 1)


async def serve(port: int, zipkin_url: str) -> None:
    """Until SIGTERM or SIGINT."""
    await serve_until_stopped(make_app(zipkin_url, Buffer()), port)
