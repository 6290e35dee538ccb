"""Being watched: one trace through all services, metrics, health (design, section 9)."""

import secrets

from tests.e2e.kefu import Kefu, an_id, until
from tests.e2e.traces import Collector, Span

SERVICES = {"kefu-intake", "kefu-routing", "kefu-notifications", "kefu-reporting"}


async def test_one_trace_leads_from_the_adapter_through_all_four_services(kefu: Kefu, collector: Collector) -> None:
    await kefu.sign_in("a01")
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    interaction, name = an_id("call"), "欧阳震华"
    await kefu.post(
        "/v1/calls",
        "call.started",
        interaction,
        traceparent=f"00-{trace_id}-{parent}-01",
        contact={"name": name, "phone": "+8613811112222"},
    )

    async def whole() -> list[Span] | None:
        spans = collector.of_trace(trace_id)
        rung = any("call.ring" in s["name"] for s in spans)
        return spans if rung and {s["localEndpoint"]["serviceName"] for s in spans} >= SERVICES else None

    spans = await until("spans of all services in one trace", whole)
    known = {s["id"] for s in spans} | {parent}
    orphans = [s["name"] for s in spans if s.get("parentId") not in known]
    assert not orphans
    ticket = await kefu.ticket_of(interaction)
    assert {s["tags"].get("kefu.ticket") for s in spans if "ticket." in s["name"]} == {ticket["id"]}
    # Only once it was applied it is known which ticket an adapter's event is about.
    assert {s["tags"].get("kefu.ticket") for s in spans if s["name"] == "process kefu.call.started"} == {ticket["id"]}
    assert {s["tags"]["kefu.account"] for s in spans if "kefu.account" in s["tags"]} == {"demo"}
    assert name not in str(spans)
    assert "13811112222" not in str(spans)
    await kefu.post("/v1/calls", "call.ended", interaction)


async def test_an_unsampled_context_makes_no_spans(kefu: Kefu, collector: Collector) -> None:
    trace_id = secrets.token_hex(16)
    interaction = an_id("chat")
    await kefu.post(
        "/v1/chats", "chat.started", interaction, site="night", traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-00"
    )
    await kefu.ticket_of(interaction)
    # What comes later and is sampled has its spans by now; so would this one.
    later, sampled = an_id("chat"), secrets.token_hex(16)
    await kefu.post(
        "/v1/chats", "chat.started", later, site="night", traceparent=f"00-{sampled}-{secrets.token_hex(8)}-01"
    )

    async def processed() -> bool | None:
        return any("process kefu.chat.started" in s["name"] for s in collector.of_trace(sampled)) or None

    await until("the spans of a sampled chat", processed)
    assert not collector.of_trace(trace_id)


async def test_every_service_tells_its_health_metrics_and_documents_without_a_key(kefu: Kefu) -> None:
    for service, url in kefu.urls.items():
        for path, part in [
            ("/healthz", "alive"),
            ("/readyz", "ready"),
            ("/metrics", "kefu_http_request_seconds"),
            ("/openapi.json", "openapi"),
            ("/docs", "swagger-ui"),
        ]:
            answer = await kefu.http.get(f"{url}{path}")
            assert (answer.status_code, part in answer.text) == (200, True), f"{service}{path}: {answer.text[:200]}"
        page = (await kefu.http.get(f"{url}/docs")).text
        assert "https://cdn" not in page
        assert (await kefu.http.get(f"{url}/docs/static/swagger-ui-bundle.js")).status_code == 200
