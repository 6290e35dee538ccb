"""`/v1/credit`: what an account has left for SMS, in fen."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from kefu_common.directory_follower import Directory
from kefu_common.events.directory import Account, ObjectId
from kefu_common.given import NO_NUL, Given
from kefu_common.http.lists import Page
from kefu_common.http.problems import Conflict, NotFound, Unavailable, declared
from kefu_notifications.api.access import Caller, Db
from kefu_notifications.domain.planning import OLDEST, Reason
from kefu_notifications.domain.sending import TRIED_FOR
from kefu_notifications.store import credit, deliveries, messages
from kefu_notifications.store.credit import Entry

router = APIRouter(prefix="/v1/credit", tags=["credit"], responses=declared(401, 403, 422, 503))


class EntryOut(BaseModel):
    """One change: `opening`, `top_up`, or a charge for an `sms`, which is negative."""

    id: int
    amount_fen: int
    balance_fen: int
    reason: str
    reference: str
    message: UUID | None
    at: datetime


class CreditOut(BaseModel):
    """The balance, and the newest entries that explain it."""

    balance_fen: int
    entries: list[EntryOut]
    next: str | None = None


class TopUpBody(Given):
    """A payment that the operator received."""

    account: ObjectId
    amount_fen: int = Field(gt=0, le=100_000_000)
    reference: str = Field(min_length=1, max_length=200, pattern=NO_NUL)
    """The operator's own: the same reference is never booked twice."""


class TopUpOut(BaseModel):
    """The top-up as it was booked; `balance_fen` is the balance right after it."""

    account: str
    amount_fen: int
    reference: str
    balance_fen: int


class CreditPage(Page):
    """Which entries to show."""


@router.get("")
async def get_credit(caller: Caller, db: Db, page: Annotated[CreditPage, Query()]) -> CreditOut:
    """The account's balance and its entries, newest first."""
    caller.need("messages:read")
    async with db.transaction() as tx:
        balance = (await credit.lock_balances(tx, [caller.account]))[caller.account]
        found = await credit.entries(tx, caller.account, page.after_number(), page.limit + 1)
    shown = page.of(found, lambda entry: entry.id, _out)
    return CreditOut(balance_fen=balance, entries=shown["items"], next=shown["next"])


@router.post("/top-ups", responses=declared(404, 409))
async def top_up(body: TopUpBody, caller: Caller, db: Db, request: Request) -> TopUpOut:
    """Book a payment; the same again answers the same. SMS that were held for the lack of credit go out."""
    caller.need_operator()
    _need_account(request, body.account)
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        await credit.lock_balances(tx, [body.account])
        booked = await credit.find_top_up(tx, body.account, body.reference)
        if booked is not None and booked.amount_fen != body.amount_fen:
            raise Conflict(f"this reference was booked with {booked.amount_fen} fen", amount_fen=booked.amount_fen)
        if booked is None:
            booked = await credit.top_up(tx, body.account, body.amount_fen, body.reference)
            released = await messages.release_held(tx, body.account, Reason.NO_CREDIT, now - OLDEST, now + TRIED_FOR)
            await deliveries.add(tx, released, now)
    request.app.state.wake()
    return TopUpOut(
        account=body.account,
        amount_fen=booked.amount_fen,
        reference=booked.reference,
        balance_fen=booked.balance_fen,
    )


def _need_account(request: Request, account: str) -> None:
    directory: Directory = request.app.state.directory
    if directory.get(account, "account", Account, account) is not None:
        return
    if request.app.state.directory_problem() is not None:
        raise Unavailable("the directory has not been read yet")
    raise NotFound("no such account")


def _out(entry: Entry) -> EntryOut:
    return EntryOut(**{name: getattr(entry, name) for name in Entry.__slots__})
