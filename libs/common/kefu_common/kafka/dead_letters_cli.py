"""`kefu dead-letters`: looking at what was set aside, and replaying it."""

import asyncio
import json
from collections.abc import AsyncIterator

import click
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import UnknownTopicOrPartitionError

from kefu_common.kafka import dead_letters as letters
from kefu_common.kafka.producer import NotConfirmed
from kefu_common.kafka.replay import Letter, Replay
from kefu_common.kafka.topics import ALL, dead_letters_of
from kefu_common.settings import DatabaseSettings, ServiceSettings


@click.group("dead-letters")
def dead_letters() -> None:
    """What a service could not process."""


@dead_letters.command("list")
@click.argument("service")
def list_letters(service: str) -> None:
    """One JSON line for each dead letter of SERVICE: where it came from and why; never its text."""

    async def run() -> None:
        async for record in _read(DatabaseSettings(), service):
            headers = _text_headers(record)
            place = {name: headers.get(f"kefu-{name}") for name in ("topic", "partition", "offset", "reason", "detail")}
            click.echo(json.dumps(place | {"letter": f"{record.partition}/{record.offset}"}, ensure_ascii=False))

    asyncio.run(run())


@dead_letters.command()
@click.argument("service")
@click.option(
    "--reason", multiple=True, default=sorted(letters.HOLDING_BACK), show_default=True, help="which to replay"
)
@click.option("--wait", "wait_s", default=15.0, show_default=True, help="seconds to wait for the service to apply them")
def replay(service: str, reason: tuple[str, ...], wait_s: float) -> None:
    """Publish SERVICE's dead letters to their topic again, in order, and let their keys go on.

    What was applied already is left out, so that a replay may be repeated. KEFU_POSTGRES is the service's.
    """
    settings = DatabaseSettings()
    try:
        count, left = asyncio.run(_replay(settings, service, frozenset(reason), wait_s))
    except (NotConfirmed, TimeoutError):
        raise click.ClickException("Kafka did not confirm in time; say the same again") from None
    click.echo(f"replayed: {count}")
    if left:
        click.echo(f"still set aside: {left} (see `kefu dead-letters list {service}`; does {service} run?)")


async def _replay(
    settings: DatabaseSettings, service: str, reasons: frozenset[str], wait_s: float = 15.0
) -> tuple[int, int]:
    """How many letters were published, and how many events wait all the same."""
    async with Replay(settings, reasons) as run:
        while True:
            before = run.published
            await run.look()
            async for record in _read(settings, service):
                letter = _letter(record)
                if letter is not None:
                    await run.take(letter)
            # What came in behind them meanwhile was set aside too: another round.
            if run.published == before or not await run.wait_until_applied(wait_s):
                return run.published, await run.still_waiting()


def _letter(record: "ConsumerRecord[bytes, bytes]") -> Letter | None:
    headers = _text_headers(record)
    topic, partition, offset = (headers.get(name) for name in (letters.TOPIC, letters.PARTITION, letters.OFFSET))
    if topic is None or partition is None or offset is None:
        return None
    kept = tuple((n, v) for n, v in record.headers if n not in letters.OURS)
    place = (int(partition), int(offset))
    reason = headers.get(letters.REASON, "")
    return Letter(reason, topic, place, record.key, record.value or b"", kept)


async def _read(settings: ServiceSettings, service: str) -> AsyncIterator["ConsumerRecord[bytes, bytes]"]:
    if dead_letters_of(service) not in ALL:
        raise click.ClickException(f"there is no service {service}")
    topic = settings.topic_prefix + dead_letters_of(service).name
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka,
        enable_auto_commit=False,
        # Not by a seek after the start: that races with the client's own first look, and the loser may be the seek.
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await consumer.start()
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        left = {tp for tp in partitions if ends[tp] > await consumer.position(tp)}
        while left:
            for tp, records in (await consumer.getmany(*left, timeout_ms=1000)).items():
                for record in records:
                    if record.offset < ends[tp]:
                        yield record
                if await consumer.position(tp) >= ends[tp]:
                    left.discard(tp)
    except UnknownTopicOrPartitionError:
        raise click.ClickException(f"there is no topic {topic}") from None
    finally:
        await consumer.stop()


def _text_headers(record: "ConsumerRecord[bytes, bytes]") -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
