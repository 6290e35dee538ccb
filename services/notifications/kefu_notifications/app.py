"""Wiring: what the notifications service is made of, and in which order it starts and stops."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType
from typing import Any

from aiokafka.errors import KafkaError
from fastapi import FastAPI

from kefu_common.directory_follower import DirectoryFollower
from kefu_common.events.messages import MESSAGE_MODELS
from kefu_common.events.outbound import OUTBOUND_MODELS
from kefu_common.events.tickets import TICKET_MODELS
from kefu_common.events.words import Medium
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator
from kefu_common.kafka.consumer import BatchConsumer, Source
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import MESSAGES, OUTBOUND, TICKETS
from kefu_common.postgres import statistics
from kefu_common.postgres.database import Database, passes
from kefu_common.postgres.relay import Relay
from kefu_common.sealing import Sealer
from kefu_common.service import Tasks, stop_process, until_up
from kefu_notifications.api import credit, messages, settings, stream
from kefu_notifications.api.feed_watch import FeedWatch
from kefu_notifications.api.needs import NEEDS
from kefu_notifications.handlers import janitor
from kefu_notifications.handlers.email import MailServer
from kefu_notifications.handlers.feeds import on_outbound, on_tickets
from kefu_notifications.handlers.provider import Provider
from kefu_notifications.handlers.sender import Sender
from kefu_notifications.handlers.sms import SmsGateway
from kefu_notifications.handlers.taking import Terms
from kefu_notifications.handlers.wanted import on_messages
from kefu_notifications.settings import NotificationsSettings

_NAME = "notifications"


class Running:
    """The parts of one process; each exists from the start, so that the HTTP server never waits for any."""

    def __init__(self, chosen: NotificationsSettings) -> None:
        dsn = chosen.postgres.get_secret_value()
        self.settings = chosen
        self.sealer = Sealer.of(chosen.sealing_keys.get_secret_value())
        self.db = Database(dsn, chosen.pool_size, f"kefu-{_NAME}")
        self.producer = EventProducer(chosen.kafka, f"kefu.{_NAME}.{chosen.slot}")
        self.follower = DirectoryFollower(chosen.kafka, chosen.topic_prefix, f"kefu.{_NAME}.{chosen.slot}.directory")
        self.relay = Relay(self.db, self.producer, chosen.slot, chosen.topic_prefix)
        self.feed_watch = FeedWatch(self.db, dsn)
        self.senders = [
            self._sender(Medium.EMAIL, MailServer(chosen)),
            self._sender(Medium.SMS, SmsGateway(chosen)),
        ]
        self.consumers = self._consumers()
        self.tasks = Tasks()
        self.waits_for: str | None = "starting"

    def wake(self) -> None:
        """There are new messages or new outbox rows."""
        self.relay.wake()
        for sender in self.senders:
            sender.wake()

    def not_ready(self) -> list[str]:
        """Why the service cannot do its work now."""
        found = [self.waits_for, self.follower.problem, self.relay.problem, *(c.problem for c in self.consumers)]
        return [reason for reason in found if reason is not None]

    async def start(self) -> None:
        """Start part by part, each as soon as what it needs is there."""
        self.tasks.start("directory", self.follower.run())
        self.waits_for = "postgres: not connected yet"
        await until_up("postgres", self.db.start, passes)
        self.tasks.start("feed_watch", self.feed_watch.run())
        self.tasks.start("janitor", janitor.run(self.db))
        self.tasks.start("statistics", statistics.keep_fresh(self.db))
        self.waits_for = "kafka: not connected yet"
        await until_up("kafka", self.producer.start, _kafka_passes)
        self.tasks.start("relay", self.relay.run())
        self.waits_for = None
        # Signatures and recipients are in the directory: without all of it, messages would go to nobody.
        await self.follower.wait_until_caught_up()
        for sender in self.senders:
            self.tasks.start("sender", sender.run())
            self.tasks.start("results", sender.record())
        self.waits_for = "kafka: consumers not started yet"
        for consumer in self.consumers:
            await until_up("kafka", consumer.start, _kafka_passes)
        self.waits_for = None

    async def stop(self) -> None:
        """Stop in the order in which work flows, so that each part can finish what it was given."""
        await asyncio.gather(*(consumer.stop() for consumer in self.consumers), return_exceptions=True)
        await asyncio.gather(*(sender.stop() for sender in self.senders), return_exceptions=True)
        await self.tasks.stop()
        await self.producer.stop()
        await self.db.stop()

    def _sender(self, medium: Medium, provider: Provider) -> Sender:
        return Sender(
            self.db,
            medium,
            provider,
            Terms(self.follower.directory, self.settings.sms_segment_fen),
            self.sealer,
            at_once=self.settings.sends_at_once,
            retry_base_s=self.settings.retry_base_s,
            committed=self.relay.wake,
        )

    def _consumers(self) -> list[BatchConsumer[Any]]:
        apply_messages = partial(
            on_messages,
            db=self.db,
            directory=self.follower.directory,
            sealer=self.sealer,
            wake=self.wake,
        )
        return [
            self._consumer(Source(MESSAGES, MESSAGE_MODELS, apply_messages)),
            self._consumer(Source(OUTBOUND, OUTBOUND_MODELS, partial(on_outbound, db=self.db))),
            self._consumer(Source(TICKETS, TICKET_MODELS, partial(on_tickets, db=self.db), gather_s=0.05)),
        ]

    def _consumer(self, source: Source[Any]) -> BatchConsumer[Any]:
        return BatchConsumer(
            _NAME,
            source,
            self.db,
            self.producer,
            bootstrap=self.settings.kafka,
            prefix=self.settings.topic_prefix,
            slot=self.settings.slot,
            batch_size=self.settings.batch_size,
            on_broken=stop_process,
        )


def make_app(chosen: NotificationsSettings) -> FastAPI:
    """The service's app; its parts start with it, in the background."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = Running(chosen)
        _put_in_reach(app, running)
        starting = Tasks()
        starting.start("start", running.start())
        with _on_stop_signal(running.feed_watch.ending.set):
            try:
                yield
            finally:
                await starting.stop()
                await running.stop()

    routers = [settings.router, messages.router, credit.router, stream.router]
    return create_app("Kefu notifications", routers, lifespan, NEEDS)


def _put_in_reach(app: FastAPI, running: Running) -> None:
    """What the routes use."""
    app.state.db = running.db
    app.state.directory = running.follower.directory
    app.state.directory_problem = lambda: running.follower.problem
    app.state.feed_watch = running.feed_watch
    app.state.wake = running.wake
    app.state.not_ready = running.not_ready
    app.state.authenticator = Authenticator(running.follower, running.settings)


def _kafka_passes(error: BaseException) -> bool:
    return isinstance(error, (KafkaError, OSError))


@contextmanager
def _on_stop_signal(ending: Callable[[], None]) -> Iterator[None]:
    """Call `ending` as soon as the process is asked to stop: the server itself waits for open streams first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ending)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
