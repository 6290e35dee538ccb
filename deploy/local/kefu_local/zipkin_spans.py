"""OTLP spans as Zipkin's v2 JSON.

Source: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation".
"""

from collections.abc import Iterable, Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ZipkinSpan = dict[str, object]

KINDS = {
    Span.SPAN_KIND_SERVER: "SERVER",
    Span.SPAN_KIND_CLIENT: "CLIENT",
    Span.SPAN_KIND_PRODUCER: "PRODUCER",
    Span.SPAN_KIND_CONSUMER: "CONSUMER",
}
PEER_NAMES = ("peer.service", "messaging.system", "db.system.name", "db.system", "server.address")
"""Attributes that name the other side, the best first; Zipkin draws its map of services from them."""


def zipkin_spans(request: ExportTraceServiceRequest) -> Iterator[ZipkinSpan]:
    for resource_spans in request.resource_spans:
        resource = _tags(resource_spans.resource.attributes)
        service = resource.get("service.name", "unknown")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _zipkin_span(span, service, scope_spans.scope.name)


def _zipkin_span(span: Span, service: str, scope: str) -> ZipkinSpan:
    tags = _tags(span.attributes)
    peer = next((tags[name] for name in PEER_NAMES if name in tags), None)
    if scope:
        tags["otel.scope.name"] = scope
    for number, link in enumerate(span.links):
        tags[f"link.{number}"] = f"{link.trace_id.hex()}/{link.span_id.hex()}"
    if span.status.code == Status.STATUS_CODE_ERROR:
        tags["error"] = span.status.message or "true"
    converted: ZipkinSpan = {
        "traceId": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "name": span.name,
        "timestamp": span.start_time_unix_nano // 1000,
        # Zipkin takes nought for unknown.
        "duration": max(1, (span.end_time_unix_nano - span.start_time_unix_nano) // 1000),
        "localEndpoint": {"serviceName": service},
        "tags": tags,
        "annotations": [{"timestamp": event.time_unix_nano // 1000, "value": event.name} for event in span.events],
    }
    if span.parent_span_id:
        converted["parentId"] = span.parent_span_id.hex()
    if span.kind in KINDS:
        converted["kind"] = KINDS[span.kind]
        if peer and span.kind != Span.SPAN_KIND_SERVER:
            converted["remoteEndpoint"] = {"serviceName": peer}
    return converted


def _tags(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {each.key: _text(each.value) for each in attributes}


def _text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return repr(value.double_value)
        case "array_value":
            return ",".join(_text(each) for each in value.array_value.values)
        case "kvlist_value":
            return ",".join(f"{each.key}={_text(each.value)}" for each in value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case _:
            return ""
