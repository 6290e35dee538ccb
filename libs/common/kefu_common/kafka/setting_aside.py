"""Setting aside: which events wait behind which, and the dead letters that carry them (design, section 4).

An event that failed holds back the later ones of its key. Which ones wait is kept in the table `set_aside_events`;
an event leaves it when it has been replayed and applied, and the key goes on when none is left. So a replay and new
events of the same key cannot overtake each other, whatever dies in between.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from kefu_common.kafka.batch import Received
from kefu_common.kafka.dead_letters import FOLLOWS, HOLDING_BACK, REPLAYED, Place, SetAside, dead_letter, place_of
from kefu_common.kafka.producer import EventProducer
from kefu_common.kafka.topics import Topic
from kefu_common.postgres.database import Database
from kefu_common.telemetry import logs, metrics

log = logs.get(__name__)
D = TypeVar("D", bound=BaseModel)

Waiting = dict[str, deque[Place]]
"""The places of the events that wait, oldest first, by key."""

# Of these keys, and a row without a key if any of the topic waits.
_WAITING = """
(select key, partition, "offset" from set_aside_events where topic = $1 and key = any($2::text[]) order by id)
union all
select null, null, null where exists (select from set_aside_events where topic = $1)
"""


class SettingAside:
    """The set-aside events of one topic in one service. Every method may be run again."""

    def __init__(self, service: str, topic: Topic, db: Database, producer: EventProducer, prefix: str) -> None:
        self._service = service
        self._topic = topic.name
        self._db = db
        self._producer = producer
        self._prefix = prefix
        self._nothing_waits = False
        self._assigned = 0

    def assigned(self) -> None:
        """Other partitions may be ours from now on: what waits of these, another member has set aside."""
        self._nothing_waits = False
        self._assigned += 1

    async def waiting(self, keys: Sequence[str]) -> Waiting:
        """What waits of these keys. Mostly nothing waits at all, and only we set aside what is ours: that is asked
        once."""
        if not keys or self._nothing_waits:
            return {}
        assigned = self._assigned
        rows = await self._db.pool.fetch(_WAITING, self._topic, keys)
        self._nothing_waits = not rows and assigned == self._assigned
        found: Waiting = defaultdict(deque)
        for row in rows:
            if row["key"] is not None:
                found[row["key"]].append((row["partition"], row["offset"]))
        return dict(found)

    async def note(self, asides: Sequence[SetAside]) -> None:
        """Write down which ones hold back their key. Comes before the letters: nothing may slip past in between."""
        holding = [a for a in asides if a.reason in HOLDING_BACK]
        if holding:
            self._nothing_waits = False
            places = [place_of(a.record) for a in holding]
            await self._db.pool.execute(
                'insert into set_aside_events (topic, partition, "offset", key)'
                " select $1, * from unnest($2::integer[], $3::bigint[], $4::text[]) on conflict do nothing",
                self._topic,
                [p for p, _ in places],
                [o for _, o in places],
                [a.record.key for a in holding],
            )

    async def send(self, asides: Sequence[SetAside]) -> None:
        """Write the letters; returns when Kafka has confirmed them. Raises `NotConfirmed`."""
        await self._producer.send([dead_letter(self._service, a, self._prefix) for a in asides], 10)
        for aside in asides:
            metrics.DEAD_LETTERS.labels(aside.record.topic, aside.reason).inc()
            log.warning(
                "event_set_aside",
                reason=aside.reason,
                detail=aside.detail,
                topic=aside.record.topic,
                partition=aside.record.partition,
                offset=aside.record.offset,
            )

    async def release(self, applied: Sequence[Received[D]]) -> None:
        """Strike out what was replayed and has been applied now."""
        replayed = [r.record for r in applied if r.record.header(REPLAYED) is not None]
        if replayed:
            places = [place_of(record) for record in replayed]
            await self._db.pool.execute(
                "delete from set_aside_events e using unnest($2::integer[], $3::bigint[]) r (partition, place)"
                ' where e.topic = $1 and e.partition = r.partition and e."offset" = r.place',
                self._topic,
                [p for p, _ in places],
                [o for _, o in places],
            )


def hold_back(received: Sequence[Received[D]], waiting: Waiting) -> tuple[list[Received[D]], list[SetAside]]:
    """Which events may be applied, and which must follow an earlier one of their key that waits.

    A replayed one may go if it is the oldest that waits, or if it waits no longer: then it was applied before.
    """
    going: list[Received[D]] = []
    held: list[SetAside] = []
    for r in received:
        queue = waiting.get(r.record.key)
        if not queue:
            going.append(r)
            continue
        place = place_of(r.record)
        is_replayed = r.record.header(REPLAYED) is not None
        if is_replayed and place == queue[0]:
            queue.popleft()
            going.append(r)
        elif is_replayed and place not in queue:
            going.append(r)
        else:
            held.append(SetAside(r.record, FOLLOWS, "an earlier event of the same key is set aside"))
    return going, held
