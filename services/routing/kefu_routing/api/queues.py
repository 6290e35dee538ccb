"""Whether a site is online, and how long one waits."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from kefu_common.http import problems
from kefu_common.http.lists import Page
from kefu_routing.api.context import Answer, Service, Who, directory_of, now, respond
from kefu_routing.domain import admission, texts
from kefu_routing.domain.online import groups_of, has_room, is_online
from kefu_routing.domain.queue import PACE_S, estimate_wait_s
from kefu_routing.store import online as online_store
from kefu_routing.store import queues, seats

router = APIRouter(prefix="/v1", tags=["queues"])
_ERRORS = problems.declared(401, 403, 404, 422, 503)


@router.get("/sites/{id}/availability", responses=_ERRORS)
async def availability(id: str, who: Who, service: Service) -> Response:
    """What a page shows of a site at the bottom right (O-01): whether it is open and somebody is there.

    `text` is what to say if not (D-01, O-05). `queue` counts the calls and chats that wait; `estimated_wait_s` is for
    one who comes now, null when it cannot be known.
    """
    who.need_site(id)
    at = now()
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        if id not in directory.sites:
            raise problems.NotFound(f"there is no site {id}")
        groups = groups_of(directory, id)
        there = await online_store.there(tx, [who.account])
        available = await online_store.available(tx, [who.account])
        held = await seats.held_by(tx, available)
        waiting = await queues.waiting_live(tx, who.account, [group.id for group in groups], at)
        pace = await queues.answers(tx, [(who.account, g.id) for g in groups], at - timedelta(seconds=PACE_S), at)
    is_open = admission.opens_at(directory, id, at) <= at
    online = is_online(directory, id, there, at)
    icons = directory.plans[id].icons if id in directory.plans else None
    free = has_room(directory, groups, available, held)
    wait_s = _estimate(online, free, sum(row["waiting"] for row in waiting), sum(pace.values()))
    shown = {
        "open": is_open,
        "online": online,
        "name": directory.sites[id].name,
        "icon": (icons.online if online else icons.offline) if icons else None,
        "text": None if online else texts.offline_text(directory, id, is_closed=not is_open)[1],
        "queue": sum(row["waiting"] for row in waiting if row["site"] == id),
        "estimated_wait_s": wait_s,
    }
    return respond(Answer(shown))


@router.get("/queues", responses=_ERRORS)
async def list_queues(page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """Per group, by id: how many tickets wait that could be offered now, and how long the oldest has waited.

    `estimated_wait_s` is how long a caller or visitor who comes now will wait; null when it cannot be known.
    """
    who.need("tickets:read")
    at = now()
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
        groups = sorted(g for g in directory.groups if g > (page.after() or ""))[: page.limit + 1]
        rows = {r["group"]: r for r in await queues.lengths(tx, who.account, at)}
        available = await online_store.available(tx, [who.account])
        held = await seats.held_by(tx, available)
        pace = await queues.answers(tx, [(who.account, g) for g in groups], at - timedelta(seconds=PACE_S), at)
    items = []
    for group in groups:
        row = rows.get(group)
        oldest_s = round(max(0.0, (at - row["oldest"]).total_seconds()), 3) if row else 0.0
        ahead = row["live"] if row else 0
        team = directory.groups[group]
        is_there = any((who.account, agent) in available for agent in team.agents)
        free = has_room(directory, [team], available, held)
        answers = sum(count for (key, _), count in pace.items() if key == (who.account, group))
        items.append(
            {
                "group": group,
                "waiting": row["waiting"] if row else 0,
                "oldest_wait_s": oldest_s,
                "estimated_wait_s": _estimate(is_there, free, ahead, answers),
            }
        )
    return respond(Answer(page.of(items, lambda queue: queue["group"])))


def _estimate(is_there: bool, free: bool, ahead: int, answers: int) -> float | None:
    """For one who comes now, behind so many: who finds nobody waits for ever, who finds a free agent not at all."""
    if not is_there:
        return None
    return 0.0 if ahead == 0 and free else estimate_wait_s(ahead + 1, answers, PACE_S)
