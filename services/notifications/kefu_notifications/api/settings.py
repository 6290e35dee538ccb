"""`/v1/settings`: whom to tell of offline messages, and the signature."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import AfterValidator, Field

from kefu_common.given import Given
from kefu_common.http.problems import PreconditionFailed, declared
from kefu_notifications.api.access import Caller, Db
from kefu_notifications.domain.planning import OLDEST, Reason, Recipients, is_address, is_phone
from kefu_notifications.domain.sending import TRIED_FOR
from kefu_notifications.domain.texts import one_line
from kefu_notifications.store import deliveries, messages
from kefu_notifications.store import settings as store
from kefu_notifications.store.settings import Chosen

router = APIRouter(prefix="/v1/settings", tags=["settings"], responses=declared(401, 403, 422, 503))


def _address(value: str) -> str:
    if not is_address(value):
        raise ValueError("expected one e-mail address")
    return value


def _phone(value: str) -> str:
    if not is_phone(value):
        raise ValueError("expected a phone number of 3 to 20 digits")
    return value


def _single_line(value: str) -> str:
    if one_line(value) != value:
        raise ValueError("expected one line without spaces at its ends")
    return value


class RecipientsBody(Given):
    """Who is told instead of the account's administrators."""

    emails: list[Annotated[str, AfterValidator(_address)]] = Field(default_factory=list, max_length=100)
    phones: list[Annotated[str, AfterValidator(_phone)]] = Field(default_factory=list, max_length=100)


class SettingsBody(Given):
    """What an account chooses for its notifications."""

    recipients: RecipientsBody | None = None
    """Unset: the account's administrators."""
    signature: Annotated[str, AfterValidator(_single_line), Field(max_length=30)] | None = None
    """Unset: the account's short name. Empty: none, and then no SMS can be sent."""


@router.get("")
async def get_settings(caller: Caller, db: Db, response: Response) -> SettingsBody:
    """The account's settings; null is unset."""
    caller.need("messages:read")
    chosen = (await store.of_accounts(db.pool, [caller.account])).get(caller.account, Chosen())
    response.headers["ETag"] = _etag(chosen)
    return _body(chosen)


@router.put("", responses=declared(412))
async def put_settings(
    body: SettingsBody,
    caller: Caller,
    db: Db,
    request: Request,
    response: Response,
    if_match: Annotated[str | None, Header()] = None,
) -> SettingsBody:
    """Replace the settings. Messages that were held for the lack of a signature go out when there is one."""
    caller.need("settings:write")
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        known = await store.lock_one(tx, caller.account)
        if if_match is not None and not _matches(if_match, _etag(known)):
            raise PreconditionFailed("the settings were changed meanwhile; read them again")
        chosen = replace(_chosen(body), version=known.version + 1)
        await store.save(tx, caller.account, chosen)
        if chosen.signature != "":
            released = await messages.release_held(
                tx, caller.account, Reason.NO_SIGNATURE, now - OLDEST, now + TRIED_FOR
            )
            await deliveries.add(tx, released, now)
    request.app.state.wake()
    response.headers["ETag"] = _etag(chosen)
    return _body(chosen)


def _etag(chosen: Chosen) -> str:
    return f'"{chosen.version}"'


def _matches(if_match: str, etag: str) -> bool:
    return "*" in if_match or etag in (tag.strip() for tag in if_match.split(","))


def _chosen(body: SettingsBody) -> Chosen:
    recipients = body.recipients
    return Chosen(None if recipients is None else Recipients(recipients.emails, recipients.phones), body.signature)


def _body(chosen: Chosen) -> SettingsBody:
    recipients = chosen.recipients
    told = None
    if recipients is not None:
        told = RecipientsBody(emails=list(recipients.emails), phones=list(recipients.phones))
    return SettingsBody(recipients=told, signature=chosen.signature)
