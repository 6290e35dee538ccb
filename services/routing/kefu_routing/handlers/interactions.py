"""`kefu.interactions.v1`: a batch of what adapters say, in one transaction."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from kefu_common.events import interactions as said
from kefu_common.events.envelope import read_event
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_common.ids import new_id
from kefu_common.kafka.batch import Received
from kefu_common.kafka.dead_letters import SetAside, dead_letter_row
from kefu_common.mail_tags import ticket_of_interaction
from kefu_common.postgres import inbox, outbox
from kefu_common.postgres.database import Connection, Database, TryAgain, passes
from kefu_common.postgres.inbox import Incoming, Sifted
from kefu_common.postgres.writes import Writes
from kefu_common.telemetry import logs, metrics
from kefu_routing.domain import interactions as rules
from kefu_routing.domain import presence
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.identity import ContactBook, Key, claim_of, keys_of
from kefu_routing.domain.model import LIVE_CHANNELS, Ticket
from kefu_routing.domain.refusals import NotApplicable
from kefu_routing.domain.work import Work
from kefu_routing.handlers import assigning
from kefu_routing.store import beginnings, contacts, early, instructions, invitations, seats, tickets
from kefu_routing.store import work as store
from kefu_routing.store.beginnings import Beginning
from kefu_routing.store.directory import DirectoryCache

log = logs.get(__name__)

_ASSIGNED_AT_ONCE = 200
"""Events of a batch: a larger one is a backlog, where what counts is how much gets through."""

Batch = Sequence[Received[InteractionData]]


@dataclass(frozen=True, slots=True)
class OnInteractions:
    """Applies batches. After each commit `committed` is told which groups to assign, and `assigned` which were assigned
    by it, and since when."""

    db: Database
    directories: DirectoryCache
    committed: Callable[[set[GroupKey]], None]
    assigned: Callable[[set[GroupKey], float], None]
    _apart: set[GroupKey] = field(default_factory=set)
    """Groups whose assignment failed beside events; from then on they are the assigner's alone."""

    async def __call__(self, batch: Batch) -> None:
        """One transaction; running it again with the same events changes nothing."""
        async with self.db.transaction() as tx:
            sifted, beginning = await _begin(tx, batch)
            writes = Writes()
            work, without_effect = await self._decide(tx, writes, sifted.fresh, beginning)
            await inbox.mark_set_aside(tx, without_effect)
            asides = [*without_effect.values(), *(SetAside(r.record, "id_reused") for r in sifted.reused)]
            await outbox.add(tx, [dead_letter_row("routing", aside) for aside in asides])
            await store.save(tx, work, writes)
            began = time.monotonic()
            to_assign, done, offered = await self._assign_at_once(tx, batch, work)
        metrics.OFFERS.labels("offered").inc(offered)
        metrics.DUPLICATES.labels("kefu.interactions.v1").inc(len(sifted.repeated))
        for reused in sifted.reused:
            metrics.ID_REUSED.labels(reused.event.adapter or "").inc()
        for aside in asides:
            metrics.DEAD_LETTERS.labels(aside.record.topic, aside.reason).inc()
        self.assigned(done, began)
        self.committed(to_assign)

    async def _assign_at_once(
        self, tx: Connection, batch: Batch, applied: Work
    ) -> tuple[set[GroupKey], set[GroupKey], int]:
        """Offer to whom the batch freed what waits, and what it queued to whom is free: in the same commit.

        What cannot be done without waiting is left to the assigner; so is everything after a large batch, since the
        next one can be read meanwhile. Returns where it must look, where nothing is left to do, and how many offers
        were made. What another transaction queues or frees at this moment is not seen here: the assigner finds that
        when it looks by itself.
        """
        groups = applied.groups_to_assign
        if len(batch) > _ASSIGNED_AT_ONCE:
            return groups, set(), 0
        known = {g for g in groups if g[1] in applied.directories[g[0]].groups and g not in self._apart}
        if not known:
            return groups, set(), 0
        # A work of its own: it is written while groups are locked, and what the batch did is written already.
        work = Work(applied.directories, new_id, seats=applied.seats)
        try:
            prospect = await assigning.look(tx, work.directories, known)
            done = await assigning.assign(tx, work, prospect, lambda: datetime.now(UTC), may_wait=False)
            await store.save(tx, work)
        except Exception as error:
            if passes(error):
                raise
            # It is no fault of these events. They are applied without it, and the assigner meets the error by itself.
            log.error("assignment_failed", groups=sorted(known), error=logs.described(error))
            self._apart.update(known)
            raise TryAgain("without assignment") from error
        left = done.busy | done.unfinished | work.groups_to_assign
        return (groups - known) | left, known - left, done.offered

    async def _decide(
        self, tx: Connection, writes: Writes, fresh: Batch, beginning: Beginning
    ) -> tuple[Work, dict[UUID, SetAside]]:
        work = Work(await self.directories.of_versions(tx, beginning.versions), new_id)
        events = await _with_early_ones(tx, [r for r in fresh if r.event.account in work.directories], beginning)
        strangers = [r for r in fresh if r.event.account not in work.directories]
        asides = {r.event.id: SetAside(r.record, "unknown_account") for r in strangers}
        if beginning.has_early:
            await contacts.lock_identities(tx, _identities(events) - _identities(fresh))
        known = await _load(tx, work, events, beginning)
        now = datetime.now(UTC)
        too_early: list[Received[InteractionData]] = []
        for received in events:
            try:
                rules.decide(work, known, received.event, received.record.partition, now)
                _name_ticket(received, known)
            except NotApplicable as why:
                if why.reason == "no_start":
                    too_early.append(received)
                else:
                    asides[received.event.id] = SetAside(received.record, why.reason)
        await early.keep(tx, too_early)
        contacts.add(writes, list(known.contacts.changed.values()), known.contacts.new_keys)
        return work, asides


async def _begin(tx: Connection, batch: Batch) -> tuple[Sifted[InteractionData], Beginning]:
    """Which events are new, and what is known of them."""
    coming = inbox.incoming(batch)
    beginning = await _read_beginning(tx, coming, batch)
    sifted = await inbox.sift(tx, coming, beginning.new)
    if len(sifted.fresh) < len(coming.first):
        # We may have waited for whoever applied the others at this moment, and read what was before that.
        beginning = await _read_beginning(tx, inbox.incoming([]), sifted.fresh)
    return sifted, beginning


async def _read_beginning(tx: Connection, coming: Incoming[InteractionData], events: Batch) -> Beginning:
    return await beginnings.read(
        tx,
        coming,
        {r.event.account for r in events},
        {_place(r) for r in events},
        {_place(r) for r in events if rules.starts(r.event)},
        _identities(events),
    )


def _name_ticket(received: Received[InteractionData], known: rules.Known) -> None:
    """Only now it is known which ticket an adapter's event is about."""
    ticket = known.by_interaction.get((received.event.account, received.event.subject))
    if received.span is not None and ticket is not None:
        received.span.set_attribute("kefu.ticket", str(ticket))


async def _with_early_ones(tx: Connection, fresh: Batch, beginning: Beginning) -> list[Received[InteractionData]]:
    """The batch, with what waited for a start right behind that start."""
    started = {_place(r) for r in fresh if rules.starts(r.event)}
    waiting: dict[tuple[str, str], list[Received[InteractionData]]] = {}
    for record in await early.take(tx, started) if beginning.has_early else ():
        event = read_event(record.value, INTERACTION_MODELS)
        waiting.setdefault((event.account, event.subject), []).append(Received(event, record))
    ordered: list[Received[InteractionData]] = []
    behind: list[Received[InteractionData]] = []
    open_now = set(beginning.tickets)
    for received in fresh:
        place = _place(received)
        if rules.starts(received.event):
            ordered.append(received)
            ordered += waiting.pop(place, [])
            ordered += [b for b in behind if _place(b) == place]
            behind = [b for b in behind if _place(b) != place]
            open_now.add(place)
        elif place in started and place not in open_now:
            behind.append(received)
        else:
            ordered.append(received)
    return ordered


async def _load(tx: Connection, work: Work, events: Batch, beginning: Beginning) -> rules.Known:
    """Load and lock what the batch concerns, in the order of locks: contacts, agents, tickets."""
    book = await contacts.open_book(tx, _identities(events), new_id)
    by_interaction = beginning.tickets | await _tagged(tx, events, beginning.tickets)
    open_before = await tickets.open_of_contacts(tx, _known_contacts(book))
    concerned = set(by_interaction.values()) | _joinable_ids(events, open_before)
    ended = {_place(r) for r in events if isinstance(r.event.data, _ENDING)} & beginning.holders.keys()
    held_by = {(place[0], beginning.holders[place]) for place in ended}
    # Whoever got one of these tickets since then is locked when it is written: a deadlock that Postgres would end.
    work.seats = await seats.lock(tx, _agents_named(work, events) | held_by)
    locked = await tickets.lock(tx, concerned)
    await _need_unmoved(tx, locked, beginning)
    known = rules.Known(book, locked, by_interaction=by_interaction)
    known.gone = {key for key, seat in work.seats.items() if presence.is_gone_by_itself(seat.state, seat.reason)}
    known.offers = await tickets.offers_of(tx, [t.offer for t in locked.values() if t.offer is not None])
    await _load_missing_contacts(tx, known, events)
    for row in open_before:
        known.open_of_contact.setdefault(row["contact"], []).append(row["id"])
        if row["id"] in locked:
            ticket = locked[row["id"]]
            known.joinable[(ticket.account, ticket.contact, ticket.site, ticket.channel)] = ticket.id
    known.last_agents = await _last_agents(tx, work, events, book)
    known.instructed = await instructions.load(tx, _instructions(events))
    known.invitations = await invitations.of_ids(tx, _instructions(events))
    chats = {(r.event.account, r.event.subject) for r in events if isinstance(r.event.data, said.ChatStarted)}
    known.invited_by = await invitations.inviting_agents(tx, chats)
    return known


async def _need_unmoved(tx: Connection, locked: Mapping[UUID, Ticket], beginning: Beginning) -> None:
    """Raises `TryAgain` when an interaction got a ticket of its own (a join undone) while we waited for a lock."""
    written = {p: id for p, id in beginning.tickets.items() if locked[id].channel not in LIVE_CHANNELS}
    if written and await tickets.of_interactions(tx, written) != written:
        raise TryAgain("an interaction went to another ticket")


async def _tagged(
    tx: Connection, events: Batch, known: Mapping[rules.Interaction, UUID]
) -> dict[rules.Interaction, UUID]:
    """The tickets of e-mails whose interaction is a ticket's tag that nobody has used before."""
    places = {(r.event.account, r.event.subject) for r in events if isinstance(r.event.data, said.EmailReceived)}
    named = {place: ticket for place in places - known.keys() if (ticket := ticket_of_interaction(place[1]))}
    found = await tickets.that_exist(tx, {(place[0], ticket) for place, ticket in named.items()})
    return {place: ticket for place, ticket in named.items() if (place[0], ticket) in found}


async def _load_missing_contacts(tx: Connection, known: rules.Known, events: Batch) -> None:
    """Those who go on with an interaction by an event that names nobody."""
    places = {_place(r) for r in events if rules.concerns_a_contact(r.event)} & known.by_interaction.keys()
    missing = {known.tickets[known.by_interaction[place]].contact for place in places}
    known.contacts.contacts.update(await contacts.load(tx, missing - known.contacts.contacts.keys()))


def _identities(events: Batch) -> set[Key]:
    keys: set[Key] = set()
    for r in events:
        claim = claim_of(r.event.data) if rules.concerns_a_contact(r.event) else None
        if claim is not None:
            keys.update(keys_of(r.event.account, claim))
    return keys


def _known_contacts(book: ContactBook) -> list[tuple[str, UUID]]:
    return sorted({(c.account, c.id) for c in book.contacts.values()})


def _joinable_ids(events: Batch, open_before: Sequence[asyncpg.Record]) -> set[UUID]:
    joining = {(r.event.account, r.event.site) for r in events if type(r.event.data) in _JOINING}
    return {
        row["id"]
        for row in open_before
        if (row["account"], row["site"]) in joining and row["channel"] in ("email", "message")
    }


async def _last_agents(tx: Connection, work: Work, events: Batch, book: ContactBook) -> dict[UUID, str]:
    """Who served these contacts last; asked only for accounts with a plan that goes by it."""
    accounts = {
        r.event.account
        for r in events
        if rules.starts(r.event) and any(p.prefer_last_agent for p in work.directories[r.event.account].plans.values())
    }
    wanted = [key for key in _known_contacts(book) if key[0] in accounts]
    return await tickets.last_agents(tx, wanted) if wanted else {}


def _place(received: Received[InteractionData]) -> rules.Interaction:
    return received.event.account, received.event.subject


_ENDING = (said.CallEnded, said.ChatEnded, said.CallTransferred)
"""What frees an agent's hands."""
_JOINING = (said.EmailReceived, said.MessageLeft)


def _agents_named(work: Work, events: Batch) -> set[tuple[str, str]]:
    named: set[tuple[str, str]] = set()
    for r in events:
        match r.event.data:
            case said.CallAnswered() as answered:
                named.add((r.event.account, answered.agent))
            case said.CallTransferred() as moved:
                agent = work.directories[r.event.account].agent_called(moved.to)
                if agent is not None:
                    named.add((r.event.account, agent))
    return named


def _instructions(events: Batch) -> list[UUID]:
    found: list[UUID] = []
    for r in events:
        if isinstance(r.event.data, said.InstructionOutcome):
            try:
                found.append(UUID(r.event.data.instruction))
            except ValueError:
                continue
    return found
