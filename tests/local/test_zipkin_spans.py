from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from kefu_local.otlp_bridge import Buffer
from kefu_local.zipkin_spans import zipkin_spans


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def test_a_span_keeps_its_parent_its_times_and_what_went_wrong() -> None:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(text("service.name", "routing"))
    resource.scope_spans.add().spans.append(
        Span(
            trace_id=b"\x01" * 16,
            span_id=b"\x02" * 8,
            parent_span_id=b"\x03" * 8,
            name="call.started",
            kind=Span.SPAN_KIND_CONSUMER,
            start_time_unix_nano=5_000_000,
            end_time_unix_nano=7_000_000,
            attributes=[text("messaging.system", "kafka")],
            links=[Span.Link(trace_id=b"\x04" * 16, span_id=b"\x05" * 8)],
            status=Status(code=Status.STATUS_CODE_ERROR, message="late"),
        )
    )

    [span] = zipkin_spans(request)

    assert span == {
        "traceId": "01" * 16,
        "id": "02" * 8,
        "parentId": "03" * 8,
        "name": "call.started",
        "kind": "CONSUMER",
        "timestamp": 5_000,
        "duration": 2_000,
        "localEndpoint": {"serviceName": "routing"},
        "remoteEndpoint": {"serviceName": "kafka"},
        "tags": {"messaging.system": "kafka", "link.0": f"{'04' * 16}/{'05' * 8}", "error": "late"},
        "annotations": [],
    }


async def test_a_full_buffer_drops_the_oldest_and_counts() -> None:
    buffer = Buffer(kept=2)
    buffer.add({"id": str(number)} for number in range(5))
    assert (len(buffer), buffer.dropped) == (2, 3)
