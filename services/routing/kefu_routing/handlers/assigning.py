"""One transaction that offers what waits in some groups to their free agents."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from kefu_common.events.directory import Account
from kefu_common.events.words import Channel, PresenceState
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain import admission, assignment
from kefu_routing.domain.assignment import GroupKey
from kefu_routing.domain.dispatch import Round
from kefu_routing.domain.holding import enqueue
from kefu_routing.domain.model import LIVE_CHANNELS, AccountDirectory, Seat, Ticket
from kefu_routing.domain.strategies import Candidate
from kefu_routing.domain.work import Work
from kefu_routing.store import queues, seats
from kefu_routing.store import work as store
from kefu_routing.store.directory import DirectoryCache
from kefu_routing.store.queues import Head, Shared
from kefu_routing.store.seats import AgentKey

Directories = Mapping[str, AccountDirectory]
_OFFERS_AT_ONCE = 1000
"""So many the groups of one transaction share."""
_SPARE = 1
"""So many more than there is room for are looked at first: agents may have declined some of them just now."""
_REMAINS = 10
"""How much of what remains of calls and chats is looked at first."""
_LOOKED_AT_MOST = 20_000
"""Tickets that one transaction locks. So many at the head of a queue that nobody may take hide those behind them."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an assignment begins with: groups where somebody is free, and who is there; read without a lock.

    Whoever becomes free later does so by a commit that wakes their groups.
    """

    members: dict[GroupKey, list[AgentKey]]
    free: set[AgentKey]
    away: dict[AgentKey, Candidate]
    """Those to whom nothing is given now, and why."""
    shared: list[Shared]
    """Tickets that wait in several groups, of which one at least has somebody free: all of them are in `members`."""
    knows_shared: bool
    """Whether there are no more of them than these."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What was decided: how many offers, where more waits, and where one could not look."""

    offered: int
    unfinished: set[GroupKey]
    busy: set[GroupKey]
    """Where somebody else assigns or changes something at this moment."""


async def look(reader: Reader, directories: Directories, groups: Collection[GroupKey]) -> Prospect:
    """What may be assigned in these groups, as far as they are known. Where many wait, most have nobody free."""
    members = {g: directories[g[0]].members[g[1]] for g in groups}
    there, on_a_call, has_shared = await seats.at_work(reader, members)
    shared, knows_shared = await queues.shared(reader, groups) if has_shared else ([], True)
    together = set().union(*(ticket.places for ticket in shared)) - members.keys()
    if together:
        # Those groups that there are no more serve nobody.
        also = {g: directories[g[0]].members[g[1]] for g in together if g[1] in directories[g[0]].members}
        members |= also
        found = await seats.at_work(reader, also)
        there, on_a_call = there | found.there, on_a_call | found.on_a_call
    free = there - on_a_call
    with_room = {group for group, team in members.items() if not free.isdisjoint(team)}
    shared = [ticket for ticket in shared if not with_room.isdisjoint(ticket.places)]
    with_room = with_room.union(*(ticket.places for ticket in shared)) & members.keys()
    team = {agent for group in with_room for agent in members[group]}
    away = {
        (account, agent): assignment.not_looked_at(
            directories[account].agents[agent], state, is_leaving, (account, agent) in on_a_call
        )
        for (account, agent), (state, is_leaving) in (await seats.states(reader, team - there)).items()
    }
    for account, agent in (team & there) - free:
        known = directories[account].agents[agent]
        away[account, agent] = assignment.not_looked_at(known, PresenceState.AVAILABLE, False, True)
    return Prospect({group: members[group] for group in with_room}, free & team, away, shared, knows_shared)


async def assign(
    tx: Connection, work: Work, prospect: Prospect, clock: Callable[[], datetime], *, may_wait: bool = True
) -> Assigned:
    """Offer what waits in the groups to their free agents. Locks the groups, these agents and the tickets, in turn.

    A ticket that waits in further groups too is offered to the best of all their agents: these groups come along. The
    clock is read when the agents are locked, so that offers made one after the other say so. A transaction that has
    locked tickets before it `may_wait` for nothing: what others have locked is left to the next assignment. It locks
    groups last, and so for a shorter time.
    """
    if not prospect.members:
        return Assigned(0, set(), set())
    ours = await queues.lock_groups(tx, prospect.members.keys()) if may_wait else set(prospect.members)
    busy = prospect.members.keys() - ours
    teams = {group: prospect.members[group] for group in ours}
    wanted = prospect.free.intersection(agent for team in teams.values() for agent in team)
    locked = await _lock_candidates(tx, work, wanted, clock, may_wait)
    missed = wanted - locked.keys()
    busy |= {group for group, team in teams.items() if not missed.isdisjoint(team)}
    agents = prospect.away | {key: _at_that_moment(work, key) for key in missed} | locked
    now = clock()
    candidates = {group: [agents[agent] for agent in team if agent in agents] for group, team in teams.items()}
    this = Round(work, candidates, now, prospect.knows_shared)
    # Whoever is missing might be the one whose turn it is.
    busy |= this.leave_out(busy)
    # A ticket of which not all groups are ours waits for a moment in which they are.
    also = [ticket.id for ticket in prospect.shared if ticket.places.isdisjoint(busy)]
    look = _look if may_wait else _look_at_once
    rest = await look(tx, this, also)
    chosen = {(this.tickets[d.ticket].account, d.agent) for d in this.decisions if isinstance(d.ticket, UUID)}
    work.counted += [_counted(key, locked[key], _today(work.directories[key[0]].account, now)) for key in chosen]
    return Assigned(len(this.decisions), rest - this.left_out, busy | this.left_out)


def _at_that_moment(work: Work, key: AgentKey) -> Candidate:
    """Somebody who is free, but whom somebody else has locked."""
    return assignment.not_looked_at(work.directories[key[0]].agents[key[1]], PresenceState.AVAILABLE, False, False)


async def _lock_candidates(
    tx: Connection,
    work: Work,
    free: Collection[AgentKey],
    clock: Callable[[], datetime],
    may_wait: bool,
) -> dict[AgentKey, Candidate]:
    """Agents who are free, with what they hold; locked, so that nobody else gives them work.

    Whoever is on a call is not: their switch has something to say of it, and would wait for us.
    """
    directories = work.directories
    locked = {key: work.seats[key] for key in work.seats.keys() & free}
    locked |= await seats.lock(tx, set(free) - locked.keys(), may_wait=may_wait)
    held = await seats.held_by(tx, locked)
    days = {account: _today(directories[account].account, clock()) for account in {account for account, _ in locked}}
    return {
        key: assignment.candidate_of(seat, directories[key[0]].agents[key[1]], held[key], days[key[0]])
        for key, seat in locked.items()
    }


async def _look(tx: Connection, this: Round, also: Sequence[UUID]) -> set[GroupKey]:
    """From the heads of the queues as far back as somebody has room; returns where more waits."""
    heads = _all_heads(this)
    looked_at = 0
    while heads or also:
        waiting = await queues.lock_waiting(tx, heads, also, this.teams.keys(), this.now)
        # As they were: what is held now, since its site has closed, has another turn.
        places = _places(waiting)
        this.decide(waiting)
        looked_at += len(waiting)
        heads, also = _further(this, heads, places), []
        if len(this.decisions) >= _OFFERS_AT_ONCE or looked_at >= _LOOKED_AT_MOST:
            return {head.group for head in heads} if this.decisions else set()
    return set()


async def _look_at_once(tx: Connection, this: Round, also: Sequence[UUID]) -> set[GroupKey]:
    """At the heads alone: a long walk along a queue is not for those who have events to apply. Returns the same."""
    heads = _all_heads(this)
    groups = this.teams.keys() if also else {head.group for head in heads}
    if not groups:
        return set()
    waiting, missed = await queues.try_lock_waiting(tx, heads, also, groups, this.now)
    # What is missing might be the one whose turn it is.
    if missed:
        this.leave_out(missed)
    places = _places(waiting)
    this.decide(waiting)
    return {head.group for head in _further(this, heads, places)}


def _all_heads(this: Round) -> list[Head]:
    each = _OFFERS_AT_ONCE // max(1, len(this.teams))
    return [head for group, team in this.teams.items() for head in _heads(group, team, each)]


_Queue = tuple[str, str | None, Channel, bool]
"""Account, group, channel, and whether it goes on."""


def _places(waiting: Sequence[Ticket]) -> list[tuple[_Queue, queues.Place]]:
    return [((t.account, t.group, t.channel, t.live), (t.turn_at, t.id)) for t in waiting]


def _further(this: Round, heads: Sequence[Head], places: Sequence[tuple[_Queue, queues.Place]]) -> list[Head]:
    """Where a queue goes on behind what was looked at, for somebody who still has room."""
    found: Counter[_Queue] = Counter()
    last: dict[_Queue, queues.Place] = {}
    for queue, place in places:
        found[queue] += 1
        last[queue] = max(last.get(queue, place), place)
    further = []
    for head in heads:
        where = (*head.group, head.channel, head.live)
        needs_room = head.live or head.channel not in LIVE_CHANNELS
        is_here = [c for c in this.teams[head.group] if c.is_here and (not needs_room or c.has_room_for(head.channel))]
        if found[where] >= head.most and is_here:
            further.append(Head(head.group, head.channel, head.live, 2 * head.most, last[where]))
    return further


def _heads(group: GroupKey, team: Sequence[Candidate], most: int) -> list[Head]:
    """Which queues of a group are looked at, and how far: what nobody has room for is not.

    By channel, so that a backlog of e-mails hides no caller. What remains of a call or chat needs no room.
    """
    present = [c for c in team if c.is_here]
    if not present:
        return []
    heads = [Head(group, channel, False, _REMAINS) for channel in sorted(LIVE_CHANNELS)]
    for channel in Channel:
        free = sum(c.room_for(channel) for c in present)
        if free > 0:
            heads.append(Head(group, channel, channel in LIVE_CHANNELS, min(free + _SPARE, max(most, _SPARE))))
    return heads


def _counted(key: AgentKey, chosen: Candidate, today: date) -> Seat:
    return Seat(*key, offers_day=today, offers_today=chosen.offers_today, last_offer_at=chosen.last_offer_at)


def _today(account: Account, now: datetime) -> date:
    return now.astimezone(ZoneInfo(account.time_zone)).date()


async def rehouse(
    tx: Connection, directories: DirectoryCache, gone: Collection[GroupKey], now: datetime
) -> set[GroupKey]:
    """A group was deleted while tickets were on their way to it: they go where new ones would go."""
    found = await directories.load(tx, {account for account, _ in gone})
    work = Work(found, new_id)
    for homeless in await queues.lock_homeless(tx, gone, _OFFERS_AT_ONCE):
        group = admission.group_for(found[homeless.account], homeless)
        if group is not None:
            enqueue(work, homeless, "transferred", now, group)
    await store.save(tx, work)
    return work.groups_to_assign
