"""Visitors of the sites: who looks at what, and inviting them to chat."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from kefu_common.given import NO_NUL, Given
from kefu_common.http import problems
from kefu_common.http.lists import Page
from kefu_common.ids import new_id
from kefu_common.postgres.database import Connection
from kefu_routing.api.context import (
    Answer,
    Service,
    Who,
    acting_agent,
    body_of,
    directory_of,
    now,
    respond,
    run,
    trace_of,
)
from kefu_routing.domain.hours import NEVER
from kefu_routing.domain.invitations import OPEN_FOR, Invitation, Watched
from kefu_routing.domain.work import Work
from kefu_routing.handlers.presence import act
from kefu_routing.store import invitations
from kefu_routing.store import work as store

router = APIRouter(prefix="/v1", tags=["visitors"])
_ERRORS = problems.declared(400, 401, 403, 404, 409, 413, 415, 422, 503)


class VisitPage(Page):
    """Filter of the list."""

    site: str | None = None


class Invite(Given):
    """What the visitor is asked."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=NO_NUL)]


@router.get("/visits", responses=problems.declared(401, 403, 422, 503))
async def list_visits(page: Annotated[VisitPage, Query()], who: Who, service: Service) -> Response:
    """Who looks at what, newest first: each page seen, with the ticket of its interaction and whether it was invited.

    `invited` is null, `invited`, `accepted`, `failed` (it could not be shown) or `over` (a chat began by itself).
    """
    who.need("tickets:read")
    if page.site is not None:
        who.need_site(page.site)
    sites = [page.site] if page.site is not None else None if who.sites is None else sorted(who.sites)
    rows = await invitations.visits(service.db.pool, who.account, sites, page.after_id(), page.limit + 1)
    return respond(Answer(page.of(rows, lambda row: row["id"], dict)))


@router.post("/visits/{id}/invite", responses=_ERRORS)
async def invite(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Invite the visitor to chat, for the agent who acts; a chat that they begin is for that agent first.

    `409` while an invitation is open, and when there is a chat already.
    """
    body = await body_of(request, Invite)

    async def command(tx: Connection) -> Answer:
        directory = await directory_of(tx, service, who)
        agent = acting_agent(who, directory)
        at, work = now(), Work({who.account: directory}, new_id)
        await act(tx, work, (who.account, agent), at)
        seen = await invitations.visit(tx, who.account, id)
        if seen is None or not who.may_use_site(seen["site"]):
            raise problems.NotFound(f"there is no visit {id}")
        before = await invitations.lock_state(tx, who.account, seen["interaction"])
        if seen["ticket"] is not None or (before is not None and before["state"] in ("accepted", "over")):
            raise problems.Conflict("the visitor has a chat already")
        if before is not None and before["state"] == "invited" and before["expires_at"] > at:
            raise problems.Conflict("the visitor is invited already", open_until=before["expires_at"].isoformat())
        watched = Watched(
            who.account,
            seen["interaction"],
            seen["site"],
            seen["adapter"],
            trace_of(request),
            seen["contact"],
            seen["page"],
            seen["at"],
            NEVER,
        )
        invited = Invitation(new_id(), watched, body.text, None, agent, at + OPEN_FOR)
        work.invite(invited, at)
        await store.save(tx, work)
        return Answer(
            {
                "id": invited.id,
                "visit": id,
                "site": watched.site,
                "interaction": watched.interaction,
                "agent": agent,
                "text": body.text,
                "expires_at": invited.expires_at,
            },
            groups=frozenset(work.groups_to_assign),
        )

    return await run(request, who, service, body, command)
