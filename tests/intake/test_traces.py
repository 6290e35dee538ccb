"""The spans of a post: who may follow it, and what they may not read."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.intake.building import a_post, body_of
from tests.intake.conftest import knows
from tests.intake.running import Intake, running_intake, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps the spans that are sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        """All so far."""
        sent = [ExportTraceServiceRequest.FromString(body) for body in self.requests]
        scopes = [scope for one in sent for resource in one.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.requests.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_sampled_post_is_one_trace_from_the_caller_to_the_event(
    intake: Intake, collector: Collector, run_folder: Path
) -> None:
    contact = {"external_id": "crm-42", "name": "王芳", "phone": "+8613800138000", "email": "w@example.com"}
    post = a_post(interaction="spans-of-wang", contact=contact, data={"text": "很私密"})
    headers = {"Authorization": "Bearer secret"}
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "KEFU_TRACE_RATIO": "0",
    }
    async with running_intake(intake.kafka, intake.prefix, run_folder / "intake-traced.log", env) as traced:
        await until(lambda: knows(traced, "secret"), 20)
        sampled = headers | {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        assert (await traced.post_bytes("chats", body_of(post), sampled)).status_code == 202
        unsampled = headers | {"traceparent": f"00-{TRACE}-{CALLER}-00"}
        assert (await traced.post_bytes("chats", body_of(post), unsampled)).status_code == 202

    [server, publish] = sorted(collector.spans, key=lambda span: span.kind)
    assert (server.name, server.kind) == ("POST /v1/chats", Span.SPAN_KIND_SERVER)
    assert (publish.name, publish.kind) == ("publish kefu.interactions.v1", Span.SPAN_KIND_PRODUCER)
    assert {server.trace_id.hex(), publish.trace_id.hex()} == {TRACE}
    assert (server.parent_span_id.hex(), publish.parent_span_id) == (CALLER, server.span_id)
    followed, passed_on = await intake.events("spans-of-wang")
    assert followed.traceparent == f"00-{TRACE}-{publish.span_id.hex()}-01"
    assert passed_on.traceparent == f"00-{TRACE}-{CALLER}-00"
    said = b"".join(collector.requests)
    for private in (*contact.values(), "很私密", "spans-of-wang"):
        assert private.encode() not in said
