"""Tracing: a span where it is sampled, and nothing where it is not.

The W3C `traceparent` string is how a context travels: in Kafka records, in the outbox, in HTTP. Spans are
made only for sampled contexts, since spans per event would cost more than the work itself.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import environ

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ratio = 0.0
_tracer: trace.Tracer | None = None

Attributes = Mapping[str, str | int | float | bool]


def set_up(service: str, ratio: float) -> TracerProvider | None:
    """Export spans by OTLP/HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; otherwise contexts only pass through.

    Shut the provider down at the end, so that the last spans are sent.
    """
    global _ratio, _tracer
    if not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": f"kefu-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
    _tracer = provider.get_tracer("kefu")
    _ratio = ratio
    return provider


def well_formed(header: bytes | None) -> str | None:
    """A caller's `traceparent` if it is one; nothing else may travel on from us."""
    return header.decode("ascii") if header is not None and _TRACEPARENT.fullmatch(header) else None


def is_sampled(traceparent: str | None) -> bool:
    """Whether the context asks for spans."""
    return traceparent is not None and len(traceparent) == 55 and traceparent[-1] in "13579bdf"


def _parse(traceparent: str | None) -> SpanContext | None:
    if traceparent is None or len(traceparent) != 55:
        return None
    try:
        _version, trace_id, span_id, flags = traceparent.split("-")
        context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


def traceparent_of(span: Span) -> str:
    """The context of a span as a `traceparent`."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def start_span(
    name: str,
    kind: SpanKind,
    parent: str | None,
    attributes: Attributes | None = None,
    links: Sequence[str] = (),
) -> Span | None:
    """Start a span under `parent`, or none when that context is not sampled. The caller ends it."""
    if _tracer is None or not is_sampled(parent):
        return None
    context = _parse(parent)
    if context is None:
        return None
    linked = [Link(c) for c in map(_parse, links) if c is not None]
    under = trace.set_span_in_context(NonRecordingSpan(context), Context())
    return _tracer.start_span(name, under, kind, attributes, linked)


def start_root(name: str, kind: SpanKind, attributes: Attributes | None = None) -> Span | None:
    """Start a trace of our own, for the configured share of calls."""
    if _tracer is None or random.random() >= _ratio:  # noqa: S311 - sampling, not security
        return None
    return _tracer.start_span(name, Context(), kind, attributes)


def start_batch_span(name: str, attributes: Attributes) -> Span | None:
    """The span of one batch, in a trace of its own, which the events' `process` spans link to."""
    return None if _tracer is None else _tracer.start_span(name, Context(), SpanKind.CONSUMER, attributes)


def ticket_of(subject: object, sequence: object, named: object) -> dict[str, str]:
    """The attribute that names an event's ticket: its subject where it has a sequence, else what its data names."""
    ticket = subject if sequence is not None else named
    return {} if ticket is None else {"kefu.ticket": str(ticket)}


@contextmanager
def in_context(span: Span | None) -> Iterator[None]:
    """Make the span current, so that logs carry its trace id, and end it afterwards."""
    if span is None:
        yield
        return
    with trace.use_span(span, end_on_exit=True, record_exception=False):
        yield
