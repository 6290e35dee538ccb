"""A span and a time for each HTTP request."""

import time
from typing import Final

from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kefu_common.telemetry import metrics, tracing

_UNSEEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Observed:
    """ASGI middleware. The request's own trace context is in `scope["kefu.traceparent"]` for what it causes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, observed."""
        if scope["type"] != "http" or scope["path"] in _UNSEEN:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        incoming = tracing.well_formed(next((v for k, v in scope["headers"] if k == b"traceparent"), None))
        name = f"{scope['method']} {scope['path']}"
        if incoming is not None:
            span = tracing.start_span(name, SpanKind.SERVER, incoming)
        else:
            span = tracing.start_root(name, SpanKind.SERVER)
        scope["kefu.traceparent"] = tracing.traceparent_of(span) if span is not None else incoming
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.in_context(span):
            try:
                await self._app(scope, receive, watched)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                if span is not None:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attributes({"http.route": route, "http.response.status_code": status, **_about(scope)})
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                metrics.HTTP_SECONDS.labels(scope["method"], route, status).observe(time.perf_counter() - started)


def _about(scope: Scope) -> dict[str, str]:
    """The account and the ticket that the request is about, as far as the app has found out."""
    return {name: scope[name] for name in ("kefu.account", "kefu.ticket") if scope.get(name)}


def traceparent(scope: Scope) -> str | None:
    """The context of the request that is served: its span's, or what the caller sent."""
    found: str | None = scope.get("kefu.traceparent")
    return found
