"""Reading tickets, their history and conversation, and contacts."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from kefu_common.events.words import TicketStatus
from kefu_common.http import problems
from kefu_common.http.auth import Principal
from kefu_common.http.lists import Page
from kefu_common.postgres.database import Reader
from kefu_routing.api import shown
from kefu_routing.api.context import Answer, Service, Who, respond
from kefu_routing.domain.model import Contact, Ticket
from kefu_routing.store import contacts, conversation, lists, tickets, visits

router = APIRouter(prefix="/v1", tags=["tickets"])
_ERRORS = problems.declared(401, 403, 404, 422)


class TicketPage(Page):
    """Filters of the list; all given ones must hold."""

    status: TicketStatus | None = None
    group: str | None = None
    handler: str | None = None
    contact: UUID | None = None
    interaction: str | None = None
    unattended: bool = False
    """Only those in the hands of an agent whose client vanished: for their leader."""


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
        page.unattended,
    )
    found = await lists.tickets(service.db.pool, wanted, page.after_id(), page.limit + 1)
    return respond(Answer(page.of(found, lambda ticket: ticket.id, shown.ticket)))


@router.get("/tickets/{id}", responses=_ERRORS)
async def read_ticket(id: UUID, who: Who, service: Service) -> Response:
    """One ticket, with its `ETag`."""
    found = await read_ticket_of(service.db.pool, who, id)
    return respond(Answer(shown.ticket(found), etag=str(found.sequence)))


@router.get("/tickets/{id}/history", responses=_ERRORS)
async def read_history(id: UUID, page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """Everything that happened to the ticket and why it was decided so, newest first; notes with their text."""
    await read_ticket_of(service.db.pool, who, id)
    before = page.after_number(most=2**31 - 1)
    rows = await lists.history(service.db.pool, id, before, page.limit + 1)
    named = [note for row in rows if (note := (row["why"] or {}).get("note")) is not None]
    notes = await conversation.notes(service.db.pool, named)

    def entry(row: asyncpg.Record) -> dict[str, Any]:
        text = notes.get((row["why"] or {}).get("note", ""))
        return {name: row[name] for name in ("sequence", "type", "at", "data", "why")} | {"text": text}

    return respond(Answer(page.of(rows, lambda row: row["sequence"], entry)))


@router.get("/tickets/{id}/messages", responses=_ERRORS)
async def read_messages(
    id: UUID, request: Request, page: Annotated[Page, Query()], who: Who, service: Service
) -> Response:
    """The conversation, oldest first. Notes are never part of it."""
    await read_ticket_of(service.db.pool, who, id)
    found = await conversation.of_ticket(service.db.pool, id, _place(page.after()), page.limit + 1)
    base = service.public_url or str(request.base_url).rstrip("/")
    return respond(
        Answer(
            page.of(
                found,
                lambda message: f"{message.at.isoformat()} {message.id}",
                lambda message: shown.message(message, base),
            )
        )
    )


@router.get("/contacts/{id}", responses=_ERRORS)
async def read_contact(id: UUID, who: Who, service: Service) -> Response:
    """One contact; a key for some sites sees those who have a ticket on one of them."""
    found = await _contact(service.db.pool, who, id)
    seen = await visits.seen(service.db.pool, id)
    return respond(Answer(shown.contact(found) | dict(seen)))


@router.get("/contacts/{id}/visits", responses=_ERRORS)
async def read_visits(id: UUID, page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """The pages that a contact looked at, the latest known first (H-06)."""
    await _contact(service.db.pool, who, id)
    sites = None if who.sites is None else sorted(who.sites)
    rows = await visits.of_contact(service.db.pool, id, sites, page.after_id(), page.limit + 1)
    return respond(Answer(page.of(rows, lambda row: row["id"], dict)))


async def _contact(tx: Reader, who: Principal, id: UUID) -> Contact:
    who.need("tickets:read")
    found = (await contacts.load(tx, [id])).get(id)
    is_seen = found is not None and found.account == who.account
    if is_seen and who.sites is not None:
        is_seen = await contacts.is_seen_on(tx, who.account, id, sorted(who.sites))
    if found is None or not is_seen:
        raise problems.NotFound(f"there is no contact {id}")
    return found


async def read_ticket_of(tx: Reader, who: Principal, id: UUID) -> Ticket:
    """The ticket, if the caller may read it. Raises `Forbidden`, `NotFound`."""
    who.need("tickets:read")
    found = await tickets.read(tx, who.account, id)
    if found is None or not who.may_use_site(found.site):
        raise problems.NotFound(f"there is no ticket {id}")
    return found


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    try:
        at, _, id = (text or "").partition(" ")
        return None if text is None else (datetime.fromisoformat(at).astimezone(UTC), UUID(id))
    except ValueError:
        raise problems.Invalid([("cursor", "expected a cursor from an earlier answer")]) from None
