"""`/v1/messages`: delivery state, and a person's wish to try again."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from kefu_common.events.words import Medium, Occasion
from kefu_common.http.lists import Items, Page
from kefu_common.http.problems import Conflict, NotFound, declared
from kefu_notifications.api.access import Caller, Db, sites_of
from kefu_notifications.domain.planning import Reason, State, is_too_old
from kefu_notifications.domain.sending import TRIED_FOR
from kefu_notifications.domain.texts import Wording, sign
from kefu_notifications.store import deliveries, messages
from kefu_notifications.store.messages import Message

router = APIRouter(prefix="/v1/messages", tags=["messages"], responses=declared(401, 403, 404, 422, 503))


class MessageOut(BaseModel):
    """One message to one person, and what became of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: UUID
    account: str
    site: str
    """Empty for what belongs to no site."""
    ticket: UUID | None
    """None for a link to a new password, which is about none."""
    agent: str | None
    reply: UUID | None
    """Routing's id of the reply that it carries."""
    occasion: Occasion
    medium: Medium
    to: str | None
    subject: str | None
    text: str
    """A link that only the recipient may see is `{link}` here."""
    state: State
    reason: Reason | None
    """Why it failed or is held."""
    attempts: int
    """Attempts since it was last planned."""
    segments: int
    cost_fen: int
    provider_id: str | None
    planned_at: datetime
    next_attempt_at: datetime | None
    """When it is tried (again), or, while an attempt is under way, when that would be taken over."""
    sent_at: datetime | None


class MessagesPage(Page):
    """Which messages to list."""

    ticket: UUID | None = None
    state: State | None = None


@router.get("")
async def list_messages(caller: Caller, db: Db, page: Annotated[MessagesPage, Query()]) -> Items[MessageOut]:
    """The account's messages on the key's sites, newest first."""
    caller.need("messages:read")
    before = page.after_id()
    rows = await messages.page(
        db.pool, caller.account, sites_of(caller), page.ticket, page.state, before, page.limit + 1
    )
    return Items(**page.of(rows, lambda message: message.id, _out))


@router.get("/{id}")
async def get_message(id: UUID, caller: Caller, db: Db) -> MessageOut:
    """One message."""
    caller.need("messages:read")
    message = await messages.find(db.pool, caller.account, id, sites_of(caller))
    if message is None:
        raise NotFound("no such message")
    return _out(message)


@router.post("/{id}/retry", responses=declared(409))
async def retry(id: UUID, caller: Caller, db: Db, request: Request) -> MessageOut:
    """Plan a failed or held message anew, however old it is; but none whose link is over."""
    caller.need("settings:write")
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        message = await messages.find(tx, caller.account, id, sites_of(caller), for_update=True)
        if message is None:
            raise NotFound("no such message")
        if message.state not in (State.FAILED, State.HELD):
            raise Conflict(f"the message is {message.state.value}, neither failed nor held", possible=[])
        if message.recipient is None:
            raise Conflict("there was nobody to tell; set recipients for the next messages", possible=[])
        if is_too_old(message.occasion, message.happened_at, now, is_forced=True):
            raise Conflict("its link is over; the agent can ask for another", possible=[])
        message = await messages.plan_again(tx, id, now + TRIED_FOR)
        await deliveries.add(tx, [message], now)
    request.app.state.wake()
    return _out(message)


def _out(message: Message) -> MessageOut:
    said = sign(Wording(message.subject, message.body), message.occasion, message.medium, message.signature)
    return MessageOut(
        id=message.id,
        account=message.account,
        site=message.site,
        ticket=message.ticket,
        agent=message.agent,
        reply=message.reply,
        occasion=message.occasion,
        medium=message.medium,
        to=message.recipient,
        subject=said.subject,
        text=said.body,
        state=message.state,
        reason=message.reason,
        attempts=message.attempts,
        segments=message.segments,
        cost_fen=message.cost_fen,
        provider_id=message.provider_id,
        planned_at=message.planned_at,
        next_attempt_at=None if message.state.is_end else message.due_at,
        sent_at=message.sent_at,
    )
