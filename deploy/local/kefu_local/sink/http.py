"""The sink's HTTP: the SMS provider, and what people and tests read."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kefu_local.sink.behaviour import Behaviour, Switch
from kefu_local.sink.page import page
from kefu_local.sink.store import Channel, Store

ON_PAGE = 200
CUT = "kefu.cut"


class Sms(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    """The sender's own id of the message."""
    to: str
    text: str
    sender: str = Field(default="", alias="from")


def make_app(store: Store, switch: Switch) -> FastAPI:
    app = FastAPI(title="Kefu sink", docs_url=None, redoc_url=None)

    @app.get("/readyz")
    @app.get("/healthz")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/", response_class=HTMLResponse)
    async def show() -> str:
        return page(store.newest(ON_PAGE))

    @app.get("/messages")
    async def messages(
        channel: Channel | None = None, to: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> dict[str, list[dict[str, str]]]:
        return {"items": [each.shown() for each in store.find(channel, to, limit)]}

    @app.delete("/messages", status_code=204)
    async def clear() -> None:
        store.clear()

    @app.get("/behaviour")
    async def behaviour() -> Behaviour:
        return switch.now

    @app.put("/behaviour")
    async def behave(wanted: Behaviour) -> Behaviour:
        switch.now = wanted
        return wanted

    @app.post("/sms")
    async def sms(message: Sms, request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
        return await _take_sms(store, switch, message, idempotency_key, request)

    return app


async def _take_sms(store: Store, switch: Switch, message: Sms, key: str | None, request: Request) -> Response:
    behaviour = switch.now.sms
    if behaviour.delay_s:
        await asyncio.sleep(behaviour.delay_s)
    if behaviour.fails():
        return JSONResponse({"error": "the sink was told to fail"}, status_code=500)
    stored_key = f"sms {key}" if key else None
    received = store.with_key(stored_key) if stored_key and behaviour.honour_idempotency else None
    if received is None:
        received = store.add(
            "sms", to=message.to, sender=message.sender, subject="", text=message.text, idempotency_key=stored_key
        )
    if behaviour.drops():
        await _cut(request)
    return JSONResponse({"id": received.id})


class CuttableProtocol(HttpToolsProtocol):
    """Lets a handler cut its connection, which ASGI has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"abort": self.transport.abort}}


async def _cut(request: Request) -> None:
    request.scope["extensions"][CUT]["abort"]()
    # The server hears of it in the loop's next round, and then drops whatever we answer.
    await asyncio.sleep(0)
