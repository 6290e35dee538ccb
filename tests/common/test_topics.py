"""The topics as the design's table has them."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from kefu_common.ids import new_id
from kefu_common.kafka.topics import ALL, create_all

DAY = 86_400_000
KEPT_DAYS = {
    "kefu.interactions.v1": 7,
    "kefu.outbound.v1": 7,
    "kefu.messages.v1": 7,
    "kefu.intake.dead.v1": 21,
    "kefu.routing.dead.v1": 21,
    "kefu.notifications.dead.v1": 21,
    "kefu.reporting.dead.v1": 21,
}
FOR_EVER = {
    "kefu.tickets.v1",
    "kefu.agents.v1",
    "kefu.contacts.v1",
    "kefu.directory.v1",
    "kefu.deliveries.v1",
    "kefu.reports.v1",
}


async def described(kafka: str, names: list[str]) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """Partitions and settings, by topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        topics: list[dict[str, Any]] = await admin.describe_topics(names)
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    finally:
        await admin.close()
    settings = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }
    return {t["topic"]: len(t["partitions"]) for t in topics}, settings


async def test_kafka_has_every_topic_with_its_partitions_and_how_long_it_keeps(kafka: str) -> None:
    prefix = f"t{new_id().hex[-8:]}."
    made = await create_all(kafka, prefix)
    assert sorted(made) == sorted(prefix + name for name in {*KEPT_DAYS, *FOR_EVER})
    assert await create_all(kafka, prefix) == []

    partitions, settings = await described(kafka, made)

    assert partitions == {name: 1 if "directory" in name else 12 for name in made}
    for name in made:
        days = KEPT_DAYS.get(name.removeprefix(prefix))
        assert settings[name]["retention.ms"] == (str(days * DAY) if days else "-1")
        assert settings[name]["cleanup.policy"] == ("compact" if "directory" in name else "delete")
        assert settings[name]["message.timestamp.type"] == "LogAppendTime"


def test_no_dead_letter_and_no_private_topic_outlives_the_inbox() -> None:
    assert max(topic.kept_days or 0 for topic in ALL) < 30


@pytest.mark.parametrize("topic", ALL, ids=lambda t: t.name)
def test_a_dead_letter_topic_takes_whatever_the_others_take(topic: Any) -> None:
    dead = [t for t in ALL if t.name.endswith(".dead.v1")]
    assert all(t.largest >= topic.largest for t in dead)
    assert topic in dead or all(t.largest > topic.largest for t in dead)
