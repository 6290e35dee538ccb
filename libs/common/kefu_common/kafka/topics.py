"""The topics: names, partitions and how long each keeps its events (design, section 3)."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

_DAY_MS = 86_400_000
DEAD_LETTERS_KEPT_DAYS: Final = 21
_SERVICES = ("intake", "routing", "notifications", "reporting")
_LARGEST_BATCH = 2 * 1024 * 1024
_ROOM_FOR_REASONS = 64 * 1024
MAX_RECORD_BYTES = _LARGEST_BATCH - 4096
"""Key, value and headers of the largest record we write; a larger one would poison the idempotent producer."""
MAX_DEAD_LETTER_BYTES = _LARGEST_BATCH + _ROOM_FOR_REASONS - 4096
"""A dead letter is whatever some topic took, plus the reason."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; `kept_days` None means for ever, `compacted` keeps the last value of each key."""

    name: str
    kept_days: int | None
    partitions: int = 12
    compacted: bool = False
    largest: int = _LARGEST_BATCH

    def config(self) -> dict[str, str]:
        """Its settings, as Kafka names them."""
        retention = str(self.kept_days * _DAY_MS) if self.kept_days is not None else "-1"
        policy = "compact" if self.compacted else "delete"
        return {
            "cleanup.policy": policy,
            "retention.ms": retention,
            "max.message.bytes": str(self.largest),
            # Kafka's clock, not each producer's: it never runs backwards within a partition, so that a reader knows
            # how far it has read, and no producer's wrong clock shortens how long a record is kept.
            "message.timestamp.type": "LogAppendTime",
        }


INTERACTIONS: Final = Topic("kefu.interactions.v1", 7)
TICKETS: Final = Topic("kefu.tickets.v1", None)
AGENTS: Final = Topic("kefu.agents.v1", None)
CONTACTS: Final = Topic("kefu.contacts.v1", None)
DIRECTORY: Final = Topic("kefu.directory.v1", None, partitions=1, compacted=True)
OUTBOUND: Final = Topic("kefu.outbound.v1", 7)
MESSAGES: Final = Topic("kefu.messages.v1", 7)
DELIVERIES: Final = Topic("kefu.deliveries.v1", None)
REPORTS: Final = Topic("kefu.reports.v1", None)


def dead_letters_of(service: str) -> Topic:
    """Where a service sets aside what it could not process."""
    return Topic(f"kefu.{service}.dead.v1", DEAD_LETTERS_KEPT_DAYS, largest=_LARGEST_BATCH + _ROOM_FOR_REASONS)


def largest_record(topic: str) -> int:
    """The most bytes of key, value and headers that a topic takes, by its name."""
    return MAX_DEAD_LETTER_BYTES if topic.endswith(".dead.v1") else MAX_RECORD_BYTES


ALL: Final = (
    INTERACTIONS,
    TICKETS,
    AGENTS,
    CONTACTS,
    DIRECTORY,
    OUTBOUND,
    MESSAGES,
    DELIVERIES,
    REPORTS,
    *(dead_letters_of(s) for s in _SERVICES),
)


async def create_all(
    bootstrap: str, prefix: str = "", partitions: int | None = None, replication: int = 1
) -> list[str]:
    """Create the topics that are missing and return their names. `partitions` overrides the design's number in tests.

    Raises:
        KafkaError: the broker refused a topic for another reason than that it exists.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=30_000)
    await admin.start()
    try:
        wanted = [
            NewTopic(
                prefix + topic.name,
                topic.partitions if topic.compacted or partitions is None else partitions,
                replication,
                topic_configs=topic.config(),
            )
            for topic in ALL
        ]
        async with asyncio.timeout(60):
            response = await admin.create_topics(wanted)
        made = []
        for name, code, *_ in response.topic_errors:
            error = for_code(code)
            if code == 0:
                made.append(name)
            elif error is not TopicAlreadyExistsError:
                raise error(name)
        return made
    finally:
        await admin.close()
