"""The inbox: an event takes effect once, because its id is recorded in the same transaction as its effect."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from kefu_common.events.envelope import body_hash
from kefu_common.kafka.batch import Received
from kefu_common.postgres.database import Connection

D = TypeVar("D", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sifted(Generic[D]):
    """A batch, told apart: seen for the first time, seen before, and the same id with another body."""

    fresh: list[Received[D]]
    repeated: list[Received[D]]
    reused: list[Received[D]]


@dataclass(frozen=True, slots=True)
class Incoming(Generic[D]):
    """A batch by its event ids, as far as it can be told apart without the database."""

    first: dict[UUID, tuple[Received[D], bytes]]
    """Each event with the hash of its body, in the order in which they came."""
    later: list[tuple[Received[D], bytes]]
    """What comes again within the batch."""

    @property
    def arguments(self) -> tuple[list[UUID], list[bytes]]:
        """Of `RECORD`: sorted, so that two transactions with the same ids wait for each other, and do not dead-lock."""
        ids = sorted(self.first)
        return ids, [self.first[id][1] for id in ids]


RECORD = (
    "insert into inbox (event, body_hash) select * from unnest($1::uuid[], $2::bytea[])"
    " on conflict do nothing returning event"
)
"""Records event ids and gives those that are new; another transaction with the same id waits until this one ends."""


def incoming(batch: Sequence[Received[D]]) -> Incoming[D]:
    """The batch by its event ids."""
    first: dict[UUID, tuple[Received[D], bytes]] = {}
    later: list[tuple[Received[D], bytes]] = []
    for received in batch:
        hashed = body_hash(received.event)
        if received.event.id in first:
            later.append((received, hashed))
        else:
            first[received.event.id] = (received, hashed)
    return Incoming(first, later)


async def keep_new(tx: Connection, batch: Sequence[Received[D]]) -> Sifted[D]:
    """Record the batch's event ids."""
    coming = incoming(batch)
    rows = await tx.fetch(RECORD, *coming.arguments)
    return await sift(tx, coming, {row["event"] for row in rows})


async def sift(tx: Connection, coming: Incoming[D], new: Collection[UUID]) -> Sifted[D]:
    """The batch told apart, by what `RECORD` said is new."""
    again = [pair for event, pair in coming.first.items() if event not in new]
    known = await _known_hashes(tx, [r.event.id for r, _ in again])
    known.update({event: pair[1] for event, pair in coming.first.items() if event in new})
    repeated: list[Received[D]] = []
    reused: list[Received[D]] = []
    for received, hashed in again + coming.later:
        (repeated if known[received.event.id] == hashed else reused).append(received)
    return Sifted([pair[0] for event, pair in coming.first.items() if event in new], repeated, reused)


async def _known_hashes(tx: Connection, ids: list[UUID]) -> dict[UUID, bytes]:
    if not ids:
        return {}
    rows = await tx.fetch("select event, body_hash from inbox where event = any($1::uuid[])", ids)
    return {row["event"]: row["body_hash"] for row in rows}


async def mark_set_aside(tx: Connection, events: Iterable[UUID]) -> None:
    """These were recorded without any effect: a replay may have them judged anew."""
    ids = list(events)
    if ids:
        await tx.execute("update inbox set is_set_aside = true where event = any($1::uuid[])", ids)


async def forget_old(tx: Connection, days: int = 30) -> None:
    """Delete ids older than any private topic or dead letter lives."""
    await tx.execute("delete from inbox where seen_at < now() - make_interval(days => $1)", days)
