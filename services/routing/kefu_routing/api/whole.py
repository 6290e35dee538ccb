"""The whole directory as one document over HTTP: exported, compared, applied."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from kefu_common.events.directory import Calendar, DirectoryObject
from kefu_common.http import problems
from kefu_common.postgres.database import Connection
from kefu_routing.api.calendars import seeded
from kefu_routing.api.context import (
    Answer,
    Service,
    Who,
    by,
    directory_of,
    expected_version,
    now,
    read_body,
    respond,
    run,
)
from kefu_routing.api.directory import ERRORS, busy_with, follow_up
from kefu_routing.api.whole_file import YAML_TYPES, WholeFile, read
from kefu_routing.api.yaml_text import write_yaml
from kefu_routing.domain import whole
from kefu_routing.domain.changes import Change, action_of, diff
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.whole import ObjectKey
from kefu_routing.store import directory as store

router = APIRouter(prefix="/v1", tags=["directory"])
LARGEST = 8 * 1024 * 1024
_DOCUMENT = {kind: {"schema": {"type": "object"}} for kind in ("application/yaml", "application/json")}


class HowToApply(BaseModel):
    """`dry_run`: only answer what would change. `prune`: delete what the document does not name."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False
    prune: bool = False


class _Asked(BaseModel):
    """What an Idempotency-Key stands for."""

    how: HowToApply
    body: bytes

    model_config = ConfigDict(ser_json_bytes="base64")


class _OnlyTried(Exception):
    """Undoes what was written."""


@router.get("/directory", responses={**ERRORS, 200: {"content": _DOCUMENT}})
async def export_directory(request: Request, who: Who, service: Service) -> Response:
    """Everything but keys, secrets and the licence, as YAML (`Accept: application/yaml`) or JSON."""
    who.need("directory:read")
    async with service.db.transaction() as tx:
        directory = await directory_of(tx, service, who)
    document = whole.document_of(directory)
    if any(kind in request.headers.get("accept", "") for kind in YAML_TYPES):
        content = await asyncio.to_thread(write_yaml, document)
        return Response(content, 200, {"ETag": f'"{directory.version}"'}, "application/yaml")
    return respond(Answer(document, etag=str(directory.version)))


@router.put("/directory", responses=ERRORS, openapi_extra={"requestBody": {"required": True, "content": _DOCUMENT}})
async def apply_directory(
    how: Annotated[HowToApply, Query()], request: Request, who: Who, service: Service
) -> Response:
    """Make the directory as the document says, all of it or nothing, and answer what changes."""
    who.need("directory:write")
    raw = await read_body(request, LARGEST)
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    file = await asyncio.to_thread(read, raw, kind)

    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        directory = await directory_of(tx, service, who)
        if expected_version(request) not in (None, directory.version):
            raise problems.PreconditionFailed("somebody else changed the directory; read it again")
        current = whole.objects_of(directory)
        result = _result_of(file, directory, current, how.prune)
        changes = whole.changes(current, result)
        await _need_unused(tx, who.account, changes)
        groups: frozenset[tuple[str, str]] = frozenset()
        with suppress(_OnlyTried):
            async with tx.transaction():
                await _write(tx, request, who, changes)
                if how.dry_run:
                    raise _OnlyTried
                groups = await follow_up(tx, who.account, [result[c.kind, c.id] for c in changes if c.after])
        kept = (
            []
            if how.prune
            else [whole.path_of(*key) for key in current if key not in file.objects and key[0] != "account"]
        )
        is_done = bool(changes) and not how.dry_run
        return Answer(_told(changes, kept, how), etag=str(directory.version + is_done), groups=groups)

    return await run(request, who, service, _Asked(how=how, body=raw), command)


def _result_of(
    file: WholeFile, directory: AccountDirectory, current: dict[ObjectKey, DirectoryObject], prune: bool
) -> dict[ObjectKey, DirectoryObject]:
    """The directory as it will be. Raises `Invalid` with every fault of the document."""
    today = now().astimezone(ZoneInfo(directory.account.time_zone)).date()
    account = directory.account.model_copy(update=file.account.model_dump(exclude_none=True))
    given = {key: _completed(body, current.get(key), today) for key, body in file.objects.items()}
    kept = {} if prune else current
    result: dict[ObjectKey, DirectoryObject] = {**kept, **given, ("account", account.id): account}
    seen = {**result, **file.broken}
    faults = file.faults + whole.faults({**given, **file.broken}, seen, store.assembled(seen, directory.version))
    if faults:
        raise problems.Invalid(sorted(faults, key=lambda fault: fault[0].split(".")[:2]))
    return result


def _completed(body: DirectoryObject, before: DirectoryObject | None, today: date) -> DirectoryObject:
    """A country's calendar that names no days keeps those that it has, or begins with its country's."""
    if not isinstance(body, Calendar) or body.country is None:
        return body
    if not isinstance(before, Calendar):
        return seeded(body, today)
    unsaid = {"holidays", "make_up_days"} - body.model_fields_set
    return body.model_copy(update={name: getattr(before, name) for name in unsaid})


async def _need_unused(tx: Connection, account: str, changes: Sequence[Change]) -> None:
    """Raises `Conflict` when something that would be deleted is needed by what the document is not about."""
    deleted = {(c.kind, c.id) for c in changes if c.after is None}
    users = await store.keys_of_sites(tx, account, [id for kind, id in deleted if kind == "site"])
    errors = [(whole.path_of("site", site), f"the key {key} still names it") for key, site in users]
    errors += [(whole.path_of(*key), why) for key, why in (await busy_with(tx, account, deleted)).items()]
    if errors:
        raise problems.Conflict(
            "some of what would be deleted is still used",
            used_by=[f"key/{key}" for key, _ in users],
            errors=[{"path": path, "message": why} for path, why in sorted(errors)],
        )


async def _write(tx: Connection, request: Request, who: Who, changes: Sequence[Change]) -> None:
    try:
        await store.write(tx, who.account, changes, by(request, who))
    except store.AddressTaken as taken:
        raise problems.Conflict(f"the address {taken} is another account's site's already") from None


def _told(changes: Sequence[Change], kept: list[str], how: HowToApply) -> dict[str, Any]:
    """The difference as callers see it."""
    told: dict[str, list[dict[str, Any]]] = {"created": [], "changed": [], "deleted": []}
    for change in changes:
        told[action_of(change.before, change.after)].append(
            {
                "path": whole.path_of(change.kind, change.id),
                "kind": change.kind,
                "id": change.id,
                "changes": diff(change.before, change.after),
            }
        )
    return {"dry_run": how.dry_run, **told, "kept": sorted(kept)}
