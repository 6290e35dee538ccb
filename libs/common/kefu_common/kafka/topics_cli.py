"""`kefu topics`: making the topics."""

import asyncio

import click
from aiokafka.errors import KafkaError

from kefu_common.kafka.topics import create_all
from kefu_common.settings import ServiceSettings


@click.group()
def topics() -> None:
    """Kafka topics."""


@topics.command()
@click.option("--replication", default=1, show_default=True, help="copies of each partition; 3 in production")
def create(replication: int) -> None:
    """Make the topics that are missing, in the Kafka of KEFU_KAFKA."""
    settings = ServiceSettings()
    try:
        made = asyncio.run(create_all(settings.kafka, settings.topic_prefix, replication=replication))
    except (KafkaError, TimeoutError) as error:
        raise click.ClickException(f"Kafka at {settings.kafka}: {error!r}") from None
    click.echo(f"made: {', '.join(made) if made else 'none, all there'}")
