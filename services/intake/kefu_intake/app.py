"""Wiring: settings, the directory, the producer, and the app that adapters talk to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from kefu_common.directory_follower import DirectoryFollower
from kefu_common.events.directory import ApiKey
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator
from kefu_common.kafka.producer import EventProducer
from kefu_common.service import Tasks
from kefu_intake.api.accept import Acceptance
from kefu_intake.api.routes import Intake, router
from kefu_intake.api.schema import add_forms
from kefu_intake.publisher import Publisher
from kefu_intake.settings import IntakeSettings


def build(settings: IntakeSettings) -> FastAPI:
    """The intake service; it connects when it is started, and needs only Kafka."""
    client_id = f"kefu-intake-{settings.slot}"
    follower = DirectoryFollower(settings.kafka, settings.topic_prefix, client_id)
    producer = EventProducer(settings.kafka, client_id)
    publisher = Publisher(producer, settings.in_flight_events, settings.in_flight_bytes)

    async def find_key(hash: str) -> tuple[str, ApiKey] | None:
        return follower.directory.key_by_hash(hash)

    def not_ready() -> Sequence[str]:
        return [problem for problem in (follower.problem, publisher.problem) if problem is not None]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.not_ready = not_ready
        tasks = Tasks()
        tasks.start("directory", follower.run())
        tasks.start("kafka", publisher.stay_connected())
        try:
            yield
        finally:
            await tasks.stop()
            await publisher.stop()

    app = create_app("Kefu intake", [router()], lifespan)
    add_forms(app)
    app.state.authenticator = Authenticator(find_key, settings.operator_key.get_secret_value())
    acceptance = Acceptance(follower.directory, publisher, settings.topic_prefix, lambda: datetime.now(UTC))
    app.state.intake = Intake(acceptance, lambda: follower.problem)
    return app
