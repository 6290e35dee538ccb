"""Wiring of the reporting service: settings, pool, Kafka, HTTP. The only place that knows everything."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError
from fastapi import FastAPI

from kefu_common.directory_follower import DirectoryFollower
from kefu_common.events.tickets import TICKET_MODELS, TicketData
from kefu_common.http.app import create_app
from kefu_common.http.auth import Authenticator
from kefu_common.kafka.batch import Received
from kefu_common.kafka.consumer import BatchConsumer, Source
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import TICKETS
from kefu_common.postgres import statistics
from kefu_common.postgres.database import Database, passes
from kefu_common.service import Tasks, stop_process, until_up
from kefu_common.settings import DatabaseSettings
from kefu_reporting.api import reports
from kefu_reporting.api.needs import NEEDS
from kefu_reporting.handlers.tickets import on_tickets

NAME: Final = "reporting"
_LOOK_EVERY_S: Final = 1.0


class Reporting:
    """The running parts of one process."""

    def __init__(self, settings: DatabaseSettings, on_broken: Callable[[BaseException], None]) -> None:
        client = f"{settings.topic_prefix}kefu.{NAME}.{settings.slot}"
        self.database = Database(settings.postgres.get_secret_value(), settings.pool_size, client)
        self.follower = DirectoryFollower(settings.kafka, settings.topic_prefix, client)
        self.producer = EventProducer(settings.kafka, client)
        self.consumer = BatchConsumer(
            NAME,
            Source(TICKETS, TICKET_MODELS, self._count, gather_s=0.2),
            self.database,
            self.producer,
            bootstrap=settings.kafka,
            prefix=settings.topic_prefix,
            slot=settings.slot,
            batch_size=settings.batch_size,
            on_broken=on_broken,
        )
        self._waits: dict[str, str] = {"database": "not connected yet", "kafka": "not connected yet"}

    async def run(self) -> None:
        """Connect as soon as what is away is there, consume, and watch both until cancelled."""
        await until_up("database", self.database.start, passes)
        del self._waits["database"]
        await asyncio.gather(self._watch_database(), self._consume(), statistics.keep_fresh(self.database))

    def not_ready(self) -> Sequence[str]:
        """Why reports are not current, or cannot be answered, now."""
        waits = [f"{what}: {why}" for what, why in self._waits.items()]
        return [*waits, *filter(None, (self.follower.problem, self.consumer.problem))]

    async def stop(self) -> None:
        """Finish the batch in hand and close everything. `run` has been cancelled before."""
        await self.consumer.stop()
        await self.producer.stop()
        await self.database.stop()

    async def _count(self, batch: Sequence[Received[TicketData]]) -> None:
        await on_tickets(batch, self.database)

    async def _consume(self) -> None:
        def kafka_is_away(error: BaseException) -> bool:
            return isinstance(error, KafkaError)

        await until_up("kafka", self.producer.start, kafka_is_away)
        await until_up("kafka", self.consumer.start, kafka_is_away)
        await self._watch_kafka()

    async def _watch_kafka(self) -> None:
        while True:
            if await self.producer.answers(timeout_s=2):
                self._waits.pop("kafka", None)
            else:
                self._waits["kafka"] = "does not answer"
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _watch_database(self) -> None:
        while True:
            try:
                async with asyncio.timeout(5):
                    await self.database.pool.fetchval("select 1")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._waits["database"] = type(error).__name__
            else:
                self._waits.pop("database", None)
            await asyncio.sleep(_LOOK_EVERY_S)


def create(settings: DatabaseSettings) -> FastAPI:
    """The app; its HTTP side answers at once, whatever is away."""
    return create_app("Kefu reporting", [reports.router], partial(_lifespan, settings), NEEDS)


@asynccontextmanager
async def _lifespan(settings: DatabaseSettings, app: FastAPI) -> AsyncIterator[None]:
    parts = Reporting(settings, on_broken=stop_process)
    app.state.database = parts.database
    app.state.directory = parts.follower.directory
    app.state.authenticator = Authenticator(parts.follower, settings)
    app.state.not_ready = parts.not_ready
    tasks = Tasks()
    tasks.start("directory", parts.follower.run())
    tasks.start("counting", parts.run())
    try:
        yield
    finally:
        await tasks.stop()
        await parts.stop()
