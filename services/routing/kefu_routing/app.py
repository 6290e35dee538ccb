"""Routing's wiring: the only place that knows everything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka.errors import KafkaError
from fastapi import FastAPI
from pydantic import BaseModel

from kefu_common import service as running
from kefu_common.events.deliveries import DELIVERY_MODELS
from kefu_common.events.interactions import INTERACTION_MODELS
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator
from kefu_common.kafka import topics
from kefu_common.kafka.consumer import BatchConsumer, Source
from kefu_common.kafka.producer import EventProducer, NotConfirmed
from kefu_common.objects import Objects
from kefu_common.postgres import statistics
from kefu_common.postgres.database import Database, passes
from kefu_common.postgres.relay import Relay
from kefu_common.sealing import Sealer
from kefu_routing.api import (
    agents,
    attachments,
    audit,
    calendars,
    check,
    commands,
    directory,
    joins,
    keys,
    me,
    oidc,
    passwords,
    queues,
    tickets,
    visitors,
    whole,
)
from kefu_routing.api import sessions as sessions_api
from kefu_routing.api.context import GroupKey, Routing
from kefu_routing.api.hashing import Passwords
from kefu_routing.api.issuers import Issuers
from kefu_routing.api.needs import NEEDS
from kefu_routing.api.people import SigningIn
from kefu_routing.handlers.assigner import Assigner
from kefu_routing.handlers.deliveries import OnDeliveries
from kefu_routing.handlers.interactions import OnInteractions
from kefu_routing.handlers.inviting import Inviting
from kefu_routing.handlers.queue_news import QueueNews
from kefu_routing.handlers.timers import Timers
from kefu_routing.settings import RoutingSettings
from kefu_routing.store import secrets
from kefu_routing.store.directory import DirectoryCache, StoredKeys

D = TypeVar("D", bound=BaseModel)
_GATHER_S = 0.01
"""Between two batches of interactions: under load they grow larger; what comes after a pause does not wait."""


class Process:
    """Everything that one routing process runs."""

    def __init__(self, settings: RoutingSettings) -> None:
        self.settings = settings
        self.db = Database(settings.postgres.get_secret_value(), settings.pool_size, "kefu-routing")
        self.producer = EventProducer(settings.kafka, f"kefu.routing.{settings.slot}")
        self.directories = DirectoryCache()
        self.sealer = Sealer.of(settings.sealing_keys.get_secret_value())
        self.relay = Relay(self.db, self.producer, settings.slot, settings.topic_prefix)
        self.assigner = Assigner(self.db, self.directories, self.relay.wake)
        on_interactions = OnInteractions(self.db, self.directories, self.committed, self.assigner.assigned)
        on_deliveries = OnDeliveries(self.db, self.directories, self.committed)
        self.interactions = self._consumer(
            Source(topics.INTERACTIONS, INTERACTION_MODELS, on_interactions, gather_s=_GATHER_S)
        )
        self.deliveries = self._consumer(Source(topics.DELIVERIES, DELIVERY_MODELS, on_deliveries, gather_s=0.2))
        self.timers = Timers(
            self.db, self.directories, self.interactions.read_until, self.interactions.owned, self.committed
        )
        self.queue_news = QueueNews(self.db, self.directories, self.committed)
        self.inviting = Inviting(self.db, self.directories, self.committed)
        self.tasks = running.Tasks()
        self.is_started = False

    def committed(self, groups: set[GroupKey]) -> None:
        """After each commit: publish what was written, assign what now can be."""
        self.relay.wake()
        self.assigner.wake(groups)

    def not_ready(self) -> Sequence[str]:
        """Why the work cannot be done now."""
        if not self.is_started:
            return ["starting: waiting for PostgreSQL and Kafka"]
        problems = (self.interactions.problem, self.deliveries.problem, self.relay.problem)
        return [p for p in problems if p is not None]

    async def start(self) -> None:
        """Connect to what may be away for now, then begin."""
        await running.until_up("PostgreSQL", self.db.start, passes)
        await running.until_up("Kafka", self.producer.start, lambda e: isinstance(e, KafkaError | NotConfirmed))
        await running.until_up("PostgreSQL", lambda: secrets.make_missing(self.db, self.sealer), passes)
        self.tasks.start("statistics", statistics.keep_fresh(self.db))
        self.tasks.start("relay", self.relay.run())
        self.tasks.start("assigner", self.assigner.run())
        for consumer in (self.interactions, self.deliveries):
            await running.until_up("Kafka", consumer.start, lambda e: isinstance(e, KafkaError))
        self.tasks.start("timers", self.timers.run())
        self.tasks.start("queue_news", self.queue_news.run())
        self.tasks.start("inviting", self.inviting.run())
        self.is_started = True

    async def stop(self) -> None:
        """Finish the batches in hand, then close."""
        if self.is_started:
            await asyncio.gather(self.interactions.stop(), self.deliveries.stop())
        await self.tasks.stop()
        await self.producer.stop()
        await self.db.stop()

    def _consumer(self, source: Source[D]) -> BatchConsumer[D]:
        s = self.settings
        return BatchConsumer(
            "routing",
            source,
            self.db,
            self.producer,
            bootstrap=s.kafka,
            prefix=s.topic_prefix,
            slot=s.slot,
            batch_size=s.batch_size,
            on_broken=running.stop_process,
        )


def create(settings: RoutingSettings) -> FastAPI:
    """The service as an ASGI app. It answers /healthz at once and starts its work as soon as it can."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        process = Process(settings)
        app.state.routing = Routing(
            process.db,
            process.directories,
            process.committed,
            process.sealer,
            Objects(settings.objects),
            settings.public_url.rstrip("/"),
        )
        app.state.issuers = issuers = Issuers()
        app.state.signing_in = SigningIn(Passwords(), settings.oidc, settings.reset_url)
        app.state.authenticator = Authenticator(StoredKeys(process.db), settings)
        app.state.not_ready = process.not_ready
        app.state.process = process
        starting = running.Tasks()
        starting.start("start", process.start())
        try:
            yield
        finally:
            await starting.stop()
            await process.stop()
            await issuers.close()

    of_directory = [directory.router, calendars.router, keys.router, audit.router, whole.router]
    of_agents = [agents.router, check.router, queues.router, visitors.router]
    of_people = [sessions_api.router, oidc.router, passwords.router, me.router]
    of_tickets = [commands.router, joins.router, tickets.router, attachments.router]
    return create_app("Kefu routing", [*of_directory, *of_agents, *of_people, *of_tickets], lifespan, NEEDS)
