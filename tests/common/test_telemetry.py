"""Traces that are whole where they are sampled and nothing where not; metrics that are known; logs that tell nobody."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from kefu_common.telemetry import logs, metrics, tracing
from tests.common.harness import Bench, eventually, ticked
from tests.common.test_http import an_app

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("kefu"))
    yield exporter
    provider.shutdown()


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def test_only_a_sampled_parent_makes_a_span(spans: InMemorySpanExporter) -> None:
    span = tracing.start_span("process", SpanKind.CONSUMER, SAMPLED)
    assert span is not None
    span.end()
    for not_sampled in (UNSAMPLED, None, "", "00-x", SAMPLED.replace("b7", "zz"), f"00-{'0' * 32}-{'0' * 16}-01"):
        assert tracing.start_span("process", SpanKind.CONSUMER, not_sampled) is None, not_sampled
    (made,) = spans.get_finished_spans()
    assert made.context is not None
    assert (f"{made.context.trace_id:032x}", parent_of(made)) == (TRACE, "b7ad6b7169203331")
    assert tracing.is_sampled(tracing.traceparent_of(span))


async def test_each_sampled_event_of_a_batch_has_a_span_under_its_own_context_linked_to_the_batch(
    bench: Bench, spans: InMemorySpanExporter
) -> None:
    consuming = bench.consuming()
    await bench.post(ticked(1, traceparent=SAMPLED), ticked(2, traceparent=UNSAMPLED), ticked(3))
    await consuming.consumer.start()

    async def are_applied() -> bool:
        return await bench.applied() == [1, 2, 3]

    await eventually(are_applied)
    await eventually(lambda: any(s.name.endswith("batch") for s in spans.get_finished_spans()))
    (process,) = [s for s in spans.get_finished_spans() if s.name.startswith("process")]
    batches = {s.context.span_id for s in spans.get_finished_spans() if s.name.endswith("batch") and s.context}
    assert parent_of(process) == "b7ad6b7169203331"
    assert {link.context.span_id for link in process.links} <= batches
    assert process.attributes is not None
    assert process.attributes["kefu.account"] == "acme"


async def test_a_request_s_span_is_named_after_its_route(spans: InMemorySpanExporter) -> None:
    transport = httpx.ASGITransport(an_app([]))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/v1/list?limit=2", headers={"traceparent": SAMPLED})
        await client.get("/v1/list?limit=2", headers={"traceparent": UNSAMPLED})
        await client.get("/v1/nobody+8613800138000", headers={"traceparent": SAMPLED})
    first, second = spans.get_finished_spans()
    assert (first.name, parent_of(first)) == ("GET /v1/list", "b7ad6b7169203331")
    assert "138" not in second.name


def all_metrics() -> dict[str, MetricWrapperBase]:
    return {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def test_metrics_have_a_name_of_their_own_and_a_sentence() -> None:
    families = {name: next(iter(metric.describe())) for name, metric in all_metrics().items()}
    assert families
    names = [family.name for family in families.values()]
    assert len(set(names)) == len(names)
    for family in families.values():
        assert family.name.startswith("kefu_")
        assert len(family.documentation) > 10
        assert family.documentation[0].isupper()


def test_no_metric_is_made_outside_the_one_list() -> None:
    known = {next(iter(metric.describe())).name for metric in all_metrics().values()}
    there = {family.name for family in REGISTRY.collect() if family.name.startswith("kefu_")}
    assert there == known
    root = Path(__file__).parents[2]
    for folder in ("libs", "services"):
        for path in (root / folder).rglob("*.py"):
            if path.name != "metrics.py":
                text = path.read_text(encoding="utf-8")
                assert "import Counter, " not in text, f"{path}: put it into telemetry/metrics.py"
                assert "prometheus_client import Counter" not in text, f"{path}: put it into telemetry/metrics.py"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    import logging

    stream, handlers, level = io.StringIO(), logging.getLogger().handlers[:], logging.getLogger().level
    before = structlog.get_config()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up("test", "INFO")
    yield stream
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def fails(name: str, phone: str) -> None:
    try:
        int(name)
    except ValueError:
        raise KeyError(phone) from None


def test_an_exception_is_logged_by_type_and_place_and_never_by_what_it_says(logged: io.StringIO) -> None:
    import logging

    said = ("王芳", "+8613800138000")
    try:
        fails(*said)
    except KeyError as error:
        structlog.get_logger().error("failed", exc_info=error, error=logs.described(error))
        logging.getLogger("library").exception("went wrong")
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert "KeyError" in line["exception"]
        assert "in fails" in line["exception"]
    for word in said:
        assert word not in logged.getvalue()
