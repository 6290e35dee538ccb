"""API keys over HTTP. A key's secret is shown once, when it is made; the directory keeps its hash, or seals it."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field, field_validator
from starlette.responses import Response

from kefu_common.events.directory import ApiKey, FormerSecret, ObjectId
from kefu_common.given import Given
from kefu_common.http import problems
from kefu_common.http.auth import SCOPES, hash_key, new_key
from kefu_common.postgres.database import Connection
from kefu_routing.api import shown
from kefu_routing.api.context import Answer, Service, Who, body_of, by, directory_of, now, run
from kefu_routing.api.directory import add_reading, documented_body, need_object, put_object, run_once
from kefu_routing.store import directory as store

router = APIRouter(prefix="/v1", tags=["keys"])
_ERRORS = problems.declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)


class KeyTerms(Given):
    """What a key may do, until when, how much, and for which adapter it stands."""

    id: ObjectId
    adapter: ObjectId | None = None
    scopes: list[str] = Field(min_length=1)
    sites: list[ObjectId] | None = None
    expires_at: AwareDatetime | None = None
    rate_per_s: int | None = Field(default=None, ge=1, le=1_000_000)
    """Events that it may post each second; none: as many as intake takes."""

    @field_validator("scopes")
    @classmethod
    def _known_scopes(cls, scopes: list[str]) -> list[str]:
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown:
            raise ValueError(f"unknown scope {unknown[0]}; expected some of {', '.join(SCOPES)}")
        return sorted(set(scopes))


class NewKey(KeyTerms):
    """The same, and whether the key signs its requests instead of being sent with each."""

    signed: bool = False


class ChangedKey(KeyTerms):
    """As reading the key shows it. Whether it signs cannot be changed; until when the former secret is in force can."""

    signed: bool | None = None
    former_valid_until: AwareDatetime | None = None


class Rotation(Given):
    """How long the old secret stays in force beside the new one."""

    old_valid_s: int = Field(default=86_400, ge=0, le=30 * 86_400)


@dataclass(frozen=True, slots=True)
class _Made:
    """A new secret, and what the directory keeps of it."""

    secret: str
    hash: str | None
    sealed: str | None


def _make_secret(service: Service, account: str, signed: bool) -> _Made:
    if not signed:
        secret = new_key(account)
        return _Made(secret, hash_key(secret), None)
    if not service.sealer.is_able:
        raise problems.Invalid([("signed", "this Kefu has no KEFU_SEALING_KEYS, which keys that sign need")])
    secret = f"kefu_sign_{secrets.token_urlsafe(32)}"
    return _Made(secret, None, service.sealer.seal(secret))


@router.post("/keys", status_code=201, responses=_ERRORS, openapi_extra=documented_body(NewKey))
async def create_key(request: Request, who: Who, service: Service) -> Response:
    """Make an API key. The key itself, or the secret with which it signs, is shown once, here."""
    who.need("directory:write")
    wanted = await body_of(request, NewKey)
    made = _make_secret(service, who.account, wanted.signed)
    body = ApiKey(**wanted.model_dump(), hash=made.hash, sealed=made.sealed)

    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        await _need_sites(tx, service, who, wanted)
        try:
            version = await store.add(tx, who.account, "key", body, by(request, who))
        except store.Exists:
            raise problems.Conflict(f"the key {body.id} exists") from None
        return Answer(_once_shown(body, made), 201, str(version))

    return await run_once(service, command)


@router.put("/keys/{id}", responses=_ERRORS, openapi_extra=documented_body(ChangedKey))
async def change_key(id: str, request: Request, who: Who, service: Service) -> Response:
    """Change what a key may do, or when it or its former secret ends; its secret stays."""
    who.need("directory:write")
    wanted = await body_of(request, ChangedKey, id=id)

    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        known = ApiKey.model_validate(await need_object(tx, who.account, "key", id))
        await _need_sites(tx, service, who, wanted)
        if wanted.signed not in (None, known.signed):
            raise problems.Invalid([("signed", "a key cannot begin or cease to sign: make another")])
        changes = {name: getattr(wanted, name) for name in KeyTerms.model_fields}
        if known.former is not None and wanted.former_valid_until is not None:
            changes["former"] = known.former.model_copy(update={"until": wanted.former_valid_until})
        body = known.model_copy(update=changes)
        version = await put_object(tx, request, who, who.account, "key", body)
        return Answer(shown.directory_object(body.model_dump(mode="json")), etag=str(version))

    return await run(request, who, service, wanted, command)


@router.post("/keys/{id}/rotate", status_code=201, responses=_ERRORS, openapi_extra=documented_body(Rotation))
async def rotate_key(id: str, request: Request, who: Who, service: Service) -> Response:
    """Give a key a new secret. The old one stays in force for a while, so that no adapter stands still in between."""
    who.need("directory:write")
    wanted = await body_of(request, Rotation)

    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        known = ApiKey.model_validate(await need_object(tx, who.account, "key", id))
        made = _make_secret(service, who.account, known.signed)
        until = now() + timedelta(seconds=wanted.old_valid_s)
        former = FormerSecret(hash=known.hash, sealed=known.sealed, until=until)
        body = known.model_copy(update={"hash": made.hash, "sealed": made.sealed, "former": former})
        version = await put_object(tx, request, who, who.account, "key", body)
        return Answer(_once_shown(body, made), 201, str(version))

    return await run_once(service, command)


async def _need_sites(tx: Connection, service: Service, who: Who, wanted: KeyTerms) -> None:
    directory = await directory_of(tx, service, who)
    named = enumerate(wanted.sites or [])
    missing = [(f"sites.{i}", f"there is no site {site}") for i, site in named if site not in directory.sites]
    if missing:
        raise problems.Invalid(missing)


def _once_shown(body: ApiKey, made: _Made) -> dict[str, Any]:
    name = "signing_secret" if body.signed else "key"
    return {**shown.directory_object(body.model_dump(mode="json")), name: made.secret}


add_reading(router, "keys", "key")
