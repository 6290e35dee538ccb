"""Undoing a join over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import StringConstraints
from starlette.responses import Response

from kefu_common.given import NO_NUL, Given
from kefu_common.http import problems
from kefu_common.postgres.database import Connection
from kefu_routing.api import shown
from kefu_routing.api.commands import ERRORS, at_ticket, done, refusals_as_problems, run_as_agent
from kefu_routing.api.context import Answer, Service, Who, body_of, now
from kefu_routing.domain import joins
from kefu_routing.store import tickets

router = APIRouter(prefix="/v1", tags=["tickets"])


class Unmerge(Given):
    """What does not belong to the ticket."""

    interaction: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]


@router.post("/tickets/{id}/unmerge", responses=ERRORS)
async def unmerge(id: UUID, request: Request, who: Who, service: Service) -> Response:
    """Undo a wrong join: what came by this interaction becomes a ticket of its own, which is answered."""
    body = await body_of(request, Unmerge)

    async def command(tx: Connection) -> Answer:
        at = await at_ticket(tx, request, who, service, id)
        row = await tickets.joined_by(tx, who.account, id, body.interaction)
        if row is None:
            raise problems.Invalid([("interaction", f"expected an interaction of the ticket {id}")])
        if row["at"] is None:
            raise problems.Conflict(f"nothing that came by {body.interaction} can be told from the rest")
        joined = joins.Joined(body.interaction, row["at"], row["reply_email"], row["reply_phone"])
        with refusals_as_problems():
            opened = joins.split(at.work, at.ticket, joined, at.agent, now())
        answer = await done(tx, at)
        return Answer(shown.ticket(opened), 200, str(opened.sequence), answer.groups)

    return await run_as_agent(request, who, service, body, command)
