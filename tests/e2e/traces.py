"""Where the stack under test sends its spans."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kefu_local.zipkin_spans import zipkin_spans

Span = dict[str, Any]


class Collector:
    """An OTLP/HTTP receiver that keeps every span."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.spans: list[Span] = []

    def of_trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace so far."""
        return [s for s in self.spans if s["traceId"] == trace_id]

    def app(self) -> FastAPI:
        """The receiver."""
        app = FastAPI()

        @app.post("/v1/traces")
        async def take(request: Request) -> Response:
            body = await request.body()
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(body)
            self.spans += zipkin_spans(sent)
            return Response(media_type="application/x-protobuf")

        return app


@asynccontextmanager
async def collecting(port: int) -> AsyncIterator[Collector]:
    """A collector that listens while the block runs."""
    collector = Collector(port)
    server = uvicorn.Server(uvicorn.Config(collector.app(), port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server._serve())
    try:
        yield collector
    finally:
        server.should_exit = True
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await serving
