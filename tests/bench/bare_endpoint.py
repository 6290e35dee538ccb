"""The yardstick of (a): the least that a FastAPI endpoint can do and still validate, trace and produce.

It takes the same types as intake's path, and FastAPI validates them; it knows no keys, sites, limits or problems.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import Body, FastAPI, Request
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_core import to_json

from kefu_intake.domain.forms import ADAPTERS

TOPIC = environ.get("KEFU_TOPIC_PREFIX", "") + "kefu.interactions.v1"
if TYPE_CHECKING:
    ChatForm = dict[str, Any]
else:
    ChatForm = Annotated[ADAPTERS["chats"]._type, Body()]  # noqa: F821 - no forward reference

# Never the global provider: FastAPI would then trace every request by itself, not one in ten.
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("bare")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One idempotent producer for all requests."""
    app.state.producer = AIOKafkaProducer(
        bootstrap_servers=environ["KEFU_KAFKA"], acks="all", enable_idempotence=True, linger_ms=0
    )
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """Started."""
    return {"status": "ready"}


@app.post("/v1/chats", status_code=202)
async def post(event: ChatForm, request: Request) -> dict[str, Any]:
    """Validated by FastAPI, confirmed by Kafka."""
    if "traceparent" not in request.headers:
        await produce(request, event, [])
    else:
        with tracer.start_as_current_span("POST /v1/chats", propagate.extract(request.headers)):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            await produce(request, event, [(name, value.encode()) for name, value in carrier.items()])
    return {"id": event["id"], "interaction": event["interaction"]}


async def produce(request: Request, event: dict[str, Any], headers: list[tuple[str, bytes]]) -> None:
    """Write the event, and wait until Kafka has it."""
    key = event["interaction"].encode()
    await request.app.state.producer.send_and_wait(TOPIC, to_json(event), key=key, headers=headers)


def main() -> None:
    """Serve on the port that is named."""
    config = uvicorn.Config(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, backlog=2048)
    uvicorn.Server(config).run()
    provider.shutdown()


if __name__ == "__main__":
    main()
