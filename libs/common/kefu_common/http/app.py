"""The FastAPI app that every service starts from: problems, health, metrics, docs without a CDN."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from kefu_common.http import problems
from kefu_common.http.needs import Needs
from kefu_common.http.no_nul import NoNul
from kefu_common.http.observed import Observed
from kefu_common.postgres.database import PASSING, passes

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Problems = Callable[[], Sequence[str]]
"""Why the service cannot do its work now; empty: it can."""


def create_app(title: str, routers: Sequence[APIRouter], lifespan: Lifespan, needs: Needs) -> FastAPI:
    """An app with the routers and what all services have. The lifespan must set `app.state.not_ready`.

    A route that is not in `needs` is refused to everybody.
    """
    app = FastAPI(title=title, version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.needs = needs
    app.state.not_ready = _starting
    problems.install(app)
    for kind in PASSING:
        app.add_exception_handler(kind, _database_away)
    for router in routers:
        app.include_router(router)
    app.include_router(_common())
    app.mount("/docs/static", StaticFiles(directory=str(swagger_ui_path)), name="docs-static")
    app.add_middleware(NoNul)
    app.add_middleware(Observed)
    return app


async def _database_away(_request: Request, error: Exception) -> Response:
    if not passes(error):
        raise error
    return problems.respond(problems.Unavailable("the database is away; try the same again"))


def _starting() -> Sequence[str]:
    return ["starting"]


def _common() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz(request: Request) -> Response:
        not_ready: Problems = request.app.state.not_ready
        reasons = list(not_ready())
        body: dict[str, Any] = {"status": "waiting" if reasons else "ready", "reasons": reasons}
        return JSONResponse(body, 503 if reasons else 200)

    @router.get("/metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        static = "/docs/static"
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=request.app.title,
            swagger_js_url=f"{static}/swagger-ui-bundle.js",
            swagger_css_url=f"{static}/swagger-ui.css",
            swagger_favicon_url=f"{static}/favicon-32x32.png",
        )

    return router
