"""Wiring: settings, the directory, the producer, and the app that adapters talk to."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from kefu_common.directory_follower import DirectoryFollower
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator
from kefu_common.kafka.producer import EventProducer
from kefu_common.objects import Objects
from kefu_common.sealing import Sealer
from kefu_common.service import Tasks
from kefu_intake.api.accept import Acceptance
from kefu_intake.api.documented import add_forms
from kefu_intake.api.files import Files, Room
from kefu_intake.api.limiter import Limiter
from kefu_intake.api.mails import Mails
from kefu_intake.api.needs import NEEDS
from kefu_intake.api.routes import Intake, router
from kefu_intake.listener import MailListener
from kefu_intake.publisher import Publisher
from kefu_intake.settings import IntakeSettings


def build(settings: IntakeSettings) -> FastAPI:
    """The intake service; it connects when it is started, and needs only Kafka."""
    client_id = f"kefu-intake-{settings.slot}"
    follower = DirectoryFollower(settings.kafka, settings.topic_prefix, client_id)
    producer = EventProducer(settings.kafka, client_id)
    publisher = Publisher(producer, settings.in_flight_events, settings.in_flight_bytes)
    files = Files(Objects(settings.objects))
    acceptance = Acceptance(follower.directory, publisher, files, settings.topic_prefix, _now)
    sealer = Sealer.of(settings.sealing_keys.get_secret_value())
    mails = Mails(follower.directory, sealer, acceptance, files, _now)
    listener = MailListener(follower, mails, settings.lmtp, settings.lmtp_connections) if settings.lmtp else None

    def not_ready() -> Sequence[str]:
        return [problem for problem in (follower.problem, publisher.problem) if problem is not None]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.not_ready = not_ready
        tasks = Tasks()
        tasks.start("directory", follower.run())
        tasks.start("kafka", publisher.stay_connected())
        if listener is not None:
            await listener.start()
        try:
            yield
        finally:
            if listener is not None:
                await listener.stop()
            await tasks.stop()
            await publisher.stop()

    app = create_app("Kefu intake", [router()], lifespan, NEEDS)
    add_forms(app)
    app.state.authenticator = Authenticator(follower, settings)
    app.state.intake = Intake(
        acceptance,
        mails,
        files,
        Room(settings.large_bytes),
        Limiter(settings.replicas, time.monotonic),
        lambda: follower.problem,
    )
    return app


def _now() -> datetime:
    return datetime.now(UTC)
