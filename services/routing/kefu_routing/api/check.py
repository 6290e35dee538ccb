"""Why an agent receives nothing."""

from datetime import timedelta

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response

from kefu_common.events.words import Channel, PresenceState
from kefu_common.http import problems
from kefu_routing.api.context import Answer, Service, Who, directory_of, now, respond
from kefu_routing.domain import turns
from kefu_routing.domain.assignment import PASS_S
from kefu_routing.domain.check import Situation, Waits, check
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.store import queues, seats

router = APIRouter(prefix="/v1", tags=["agents"])


@router.get("/agents/{id}/check", responses=problems.declared(401, 403, 404, 503))
async def check_agent(id: str, who: Who, service: Service) -> Response:
    """Whether the agent is offered what comes or waits now, and everything that stands in the way (D-10).

    Each finding has a rule, the path of what to look at, and a sentence in English and Chinese.
    """
    who.need("tickets:read")
    at = now()
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        if id not in directory.agents:
            raise problems.NotFound(f"there is no agent {id}")
        groups = [group.id for group in directory.groups.values() if id in group.agents]
        presence = (await seats.shown(tx, who.account, [id])).get(id)
        held = (await seats.held_by(tx, [(who.account, id)]))[who.account, id]
        passed_since = at - timedelta(seconds=PASS_S)
        waiting = await queues.kinds_waiting(tx, who.account, groups, id, passed_since, at)
    kinds = [
        Waits(
            row["group"],
            Channel(row["channel"]),
            row["category"],
            row["takes_capacity"],
            turns.is_relaxed(directory.plans.get(row["site"]), row["step"]),
            row["is_passed"],
            _waits_for(directory, who.account, row),
        )
        for row in waiting
    ]
    state, reason, next_state = (presence[n] if presence else None for n in ("state", "reason", "next_state"))
    situation = Situation(directory, id, _state(state), reason, held, kinds, _state(next_state))
    return respond(Answer(check(situation, at)))


def _waits_for(directory: AccountDirectory, account: str, row: asyncpg.Record) -> str | None:
    """Whoever is in none of its groups any more cannot take it, and is not waited for."""
    teams = (directory.members.get(group, []) for group in (row["group"], *row["wider"]))
    other: str | None = row["waits_for"]
    return other if any((account, other) in team for team in teams) else None


def _state(word: str | None) -> PresenceState | None:
    return None if word is None else PresenceState(word)
