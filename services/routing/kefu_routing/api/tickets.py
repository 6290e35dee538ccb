"""Reading tickets, their history and conversation, and contacts."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from kefu_common.events.words import TicketStatus
from kefu_common.http import problems
from kefu_common.http.auth import Principal
from kefu_common.http.lists import Page, cursor_after
from kefu_common.postgres.database import Reader
from kefu_routing.api import shown
from kefu_routing.api.context import Answer, Service, Who, respond
from kefu_routing.domain.model import Ticket
from kefu_routing.store import contacts, conversation, lists, tickets

router = APIRouter(prefix="/v1", tags=["tickets"])
_ERRORS = problems.declared(401, 403, 404, 422)


class TicketPage(Page):
    """Filters of the list; all given ones must hold."""

    status: TicketStatus | None = None
    group: str | None = None
    handler: str | None = None
    contact: UUID | None = None
    interaction: str | None = None


@router.get("/tickets", responses=_ERRORS)
async def list_tickets(page: Annotated[TicketPage, Query()], who: Who, service: Service) -> Response:
    """Tickets, newest first."""
    who.need("tickets:read")
    wanted = lists.Wanted(
        who.account,
        None if who.sites is None else sorted(who.sites),
        page.status,
        page.group,
        page.handler,
        page.contact,
        page.interaction,
    )
    found = await lists.tickets(service.db.pool, wanted, _uuid(page.after()), page.limit + 1)
    return _page([shown.ticket(t) for t in found], page.limit)


@router.get("/tickets/{id}", responses=_ERRORS)
async def read_ticket(id: UUID, who: Who, service: Service) -> Response:
    """One ticket, with its `ETag`."""
    found = await _ticket(service.db.pool, who, id)
    return respond(Answer(shown.ticket(found), etag=str(found.sequence)))


@router.get("/tickets/{id}/history", responses=_ERRORS)
async def read_history(id: UUID, page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """Everything that happened to the ticket and why it was decided so, oldest first; notes with their text."""
    await _ticket(service.db.pool, who, id)
    after = page.after()
    if after is not None and not after.isdigit():
        raise problems.Invalid([("cursor", "expected a cursor from an earlier answer")])
    rows = await lists.history(service.db.pool, id, int(after or 0), page.limit + 1)
    notes = {str(n["id"]): n["text"] for n in await conversation.notes_of_ticket(service.db.pool, id)}
    items = [
        {
            "sequence": row["sequence"],
            "type": row["type"],
            "at": row["at"],
            "data": row["data"],
            "why": row["why"],
            "text": notes.get((row["why"] or {}).get("note", "")),
        }
        for row in rows
    ]
    following = cursor_after(str(items[page.limit - 1]["sequence"])) if len(items) > page.limit else None
    return respond(Answer({"items": items[: page.limit], "next": following}))


@router.get("/tickets/{id}/messages", responses=_ERRORS)
async def read_messages(id: UUID, page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """The conversation, oldest first. Notes are never part of it."""
    await _ticket(service.db.pool, who, id)
    found = await conversation.of_ticket(service.db.pool, id, _place(page.after()), page.limit + 1)
    last = found[page.limit - 1] if len(found) > page.limit else None
    following = cursor_after(f"{last.at.isoformat()} {last.id}") if last else None
    return respond(Answer({"items": [shown.message(m) for m in found[: page.limit]], "next": following}))


@router.get("/contacts/{id}", responses=_ERRORS)
async def read_contact(id: UUID, who: Who, service: Service) -> Response:
    """One contact."""
    who.need("tickets:read")
    found = (await contacts.load(service.db.pool, [id])).get(id)
    if found is None or found.account != who.account:
        raise problems.NotFound(f"there is no contact {id}")
    return respond(Answer(shown.contact(found)))


async def _ticket(tx: Reader, who: Principal, id: UUID) -> Ticket:
    who.need("tickets:read")
    found = await tickets.read(tx, who.account, id)
    if found is None or not who.may_use_site(found.site):
        raise problems.NotFound(f"there is no ticket {id}")
    return found


def _page(items: list[dict[str, Any]], limit: int) -> Response:
    following = cursor_after(str(items[limit - 1]["id"])) if len(items) > limit else None
    return respond(Answer({"items": items[:limit], "next": following}))


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    try:
        at, _, id = (text or "").partition(" ")
        return None if text is None else (datetime.fromisoformat(at).astimezone(UTC), UUID(id))
    except ValueError:
        raise problems.Invalid([("cursor", "expected a cursor from an earlier answer")]) from None


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise problems.Invalid([("cursor", "expected a cursor from an earlier answer")]) from None
