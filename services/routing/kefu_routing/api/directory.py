"""The directory over HTTP: accounts, sites, plans, groups, agents, calendars and mail addresses."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from kefu_common.events.directory import (
    Account,
    Agent,
    ApiKey,
    Calendar,
    DirectoryObject,
    Group,
    Kind,
    MailAddress,
    Plan,
    Site,
)
from kefu_common.http import problems
from kefu_common.http.auth import SCOPES, hash_key, new_key
from kefu_common.http.lists import Page
from kefu_common.postgres.database import Connection
from kefu_routing.api import shown
from kefu_routing.api.context import (
    Answer,
    Command,
    Service,
    Who,
    body_of,
    directory_of,
    expected_version,
    respond,
    run,
    trace_of,
)
from kefu_routing.domain import references
from kefu_routing.store import directory as store
from kefu_routing.store import people, queues, seats, secrets

router = APIRouter(prefix="/v1", tags=["directory"])
_ERRORS = problems.declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)


def documented_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=f"#/components/schemas/{model.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/accounts", status_code=201, responses=_ERRORS, openapi_extra=documented_body(Account))
async def create_account(request: Request, who: Who, service: Service) -> Response:
    """Make an account (operator's key). Its admin key is shown once, here."""
    who.need_operator()
    body = await body_of(request, Account)
    secret = new_key(body.id)
    admin = ApiKey(id="admin", scopes=list(SCOPES), hash=hash_key(secret))

    async def command(tx: Connection) -> Answer:
        try:
            await store.add_account(tx, body, trace_of(request))
            await store.add(tx, body.id, "key", admin, trace_of(request))
            await secrets.make(tx, service.sealer, body.id, trace_of(request))
        except store.Exists:
            raise problems.Conflict(f"the account {body.id} exists") from None
        return Answer({**body.model_dump(mode="json"), "keys": {"admin": secret}}, 201, "1")

    return await run_once(service, command)


@router.get("/accounts", responses=_ERRORS)
async def list_accounts(page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """All accounts, newest first (operator's key)."""
    who.need_operator()
    rows = await store.accounts(service.db.pool, page.after_number(), page.limit + 1)
    return respond(Answer(page.of(rows, lambda row: row["number"], lambda row: row["body"])))


@router.get("/accounts/{id}", responses=_ERRORS)
async def read_account(id: str, who: Who, service: Service) -> Response:
    """An account: one's own, or any with the operator's key."""
    account = _account_for(who, id)
    return await _read(service, account, "account", id)


@router.put("/accounts/{id}", responses=_ERRORS, openapi_extra=documented_body(Account))
async def change_account(id: str, request: Request, who: Who, service: Service) -> Response:
    """Change an account (operator's key): its licence above all."""
    who.need_operator()
    body = await body_of(request, Account, id=id)
    return await _change(request, who, service, id, "account", body)


async def run_once(service: Service, command: Command) -> Response:
    """Run a command whose answer holds a secret that is never stored, so that no Idempotency-Key could repeat it.

    Whoever lost the answer deletes the key, or rotates it.
    """
    async with service.db.transaction() as tx:
        answer = await command(tx)
    service.committed(set())
    return respond(answer)


def _account_for(who: Who, id: str) -> str:
    if not who.is_operator:
        who.need("directory:read")
        if id != who.account:
            raise problems.NotFound(f"there is no account {id}")
    return id


def add_reading(router: APIRouter, path: str, kind: Kind) -> None:
    """The routes by which objects of a kind are listed, read and deleted."""
    tags: list[Any] = [path]

    @router.get(f"/{path}", responses=_ERRORS, name=f"list_{path}", tags=tags)
    async def list_objects(page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
        who.need("directory:read")
        rows = await store.page(service.db.pool, who.account, kind, page.after_number(), page.limit + 1)
        return respond(
            Answer(page.of(rows, lambda row: row["number"], lambda row: shown.directory_object(row["body"])))
        )

    @router.get(f"/{path}/{{id}}", responses=_ERRORS, name=f"read_{kind}", tags=tags)
    async def read_object(id: str, who: Who, service: Service) -> Response:
        who.need("directory:read")
        return await _read(service, who.account, kind, id)

    @router.delete(f"/{path}/{{id}}", status_code=204, responses=_ERRORS, name=f"delete_{kind}", tags=tags)
    async def delete_object(id: str, request: Request, who: Who, service: Service) -> Response:
        who.need("directory:write")
        return await _delete(request, who, service, kind, id)


def _add_resource(path: str, kind: Kind, model: type[DirectoryObject]) -> None:
    """The five routes that most kinds of objects have."""
    add_reading(router, path, kind)
    tags: list[Any] = [path]
    documented = documented_body(model)

    @router.post(
        f"/{path}", status_code=201, responses=_ERRORS, name=f"create_{kind}", tags=tags, openapi_extra=documented
    )
    async def create_object(request: Request, who: Who, service: Service) -> Response:
        who.need("directory:write")
        return await _create(request, who, service, kind, await body_of(request, model))

    @router.put(f"/{path}/{{id}}", responses=_ERRORS, name=f"change_{kind}", tags=tags, openapi_extra=documented)
    async def change_object(id: str, request: Request, who: Who, service: Service) -> Response:
        who.need("directory:write")
        body = await body_of(request, model, id=id)
        return await _change(request, who, service, who.account, kind, body)


async def need_object(tx: Connection, account: str, kind: Kind, id: str) -> dict[str, Any]:
    """The object as it is. Raises `NotFound`."""
    found = await store.get(tx, account, kind, id)
    if found is None:
        raise problems.NotFound(f"there is no {kind} {id}")
    return found[0]


async def _read(service: Service, account: str, kind: Kind, id: str) -> Response:
    found = await store.get(service.db.pool, account, kind, id)
    if found is None:
        raise problems.NotFound(f"there is no {kind} {id}")
    return respond(Answer(shown.directory_object(found[0]), etag=str(found[1])))


async def _create(request: Request, who: Who, service: Service, kind: Kind, body: DirectoryObject) -> Response:
    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        await _need_whole(tx, service, who, body)
        try:
            version = await store.add(tx, who.account, kind, body, trace_of(request))
        except store.Exists:
            raise problems.Conflict(f"the {kind} {body.id} exists") from None
        except store.AddressTaken:
            raise problems.Conflict("address: it is another site's already") from None
        groups = await _follow_up(tx, who.account, body)
        return Answer(body.model_dump(mode="json"), 201, str(version), groups)

    return await run(request, who, service, body, command)


async def _change(
    request: Request, who: Who, service: Service, account: str, kind: Kind, body: DirectoryObject
) -> Response:
    async def command(tx: Connection) -> Answer:
        try:
            await store.lock_account(tx, account)
        except store.Missing:
            raise problems.NotFound(f"there is no {kind} {body.id}") from None
        await need_object(tx, account, kind, body.id)
        if kind != "account":
            await _need_whole(tx, service, who, body)
        version = await put_object(tx, request, account, kind, body)
        groups = await _follow_up(tx, account, body)
        return Answer(body.model_dump(mode="json"), etag=str(version), groups=groups)

    return await run(request, who, service, body, command)


async def put_object(tx: Connection, request: Request, account: str, kind: Kind, body: DirectoryObject) -> int:
    try:
        return await store.put(tx, account, kind, body, expected_version(request), trace_of(request))
    except store.VersionChanged:
        raise problems.PreconditionFailed(f"somebody else changed the {kind} {body.id}; read it again") from None
    except store.AddressTaken:
        raise problems.Conflict("address: it is another site's already") from None


async def _delete(request: Request, who: Who, service: Service, kind: Kind, id: str) -> Response:
    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        directory = await directory_of(tx, service, who)
        users = references.users_of(kind, id, directory)
        if users:
            raise problems.Conflict(f"the {kind} {id} is still used", used_by=users)
        if kind == "agent" and id in await seats.signed_in(tx, who.account):
            raise problems.Conflict(f"the agent {id} is signed in")
        if kind in ("agent", "group") and await queues.is_used(tx, who.account, **{kind: id}):
            raise problems.Conflict(f"the {kind} {id} still has open tickets")
        try:
            await store.delete(tx, who.account, kind, id, expected_version(request), trace_of(request))
        except store.Missing:
            raise problems.NotFound(f"there is no {kind} {id}") from None
        except store.VersionChanged:
            raise problems.PreconditionFailed(f"somebody else changed the {kind} {id}; read it again") from None
        if kind == "agent":
            await people.forget(tx, who.account, id)
        return Answer(None, 204)

    return await run(request, who, service, None, command)


async def _need_whole(tx: Connection, service: Service, who: Who, body: DirectoryObject) -> None:
    faults = references.faults(body, await directory_of(tx, service, who))
    if faults:
        raise problems.Invalid(faults)


async def _follow_up(tx: Connection, account: str, body: DirectoryObject) -> frozenset[tuple[str, str]]:
    """What a changed object means for tickets that wait; returns the groups to look at again."""
    match body:
        case Agent():
            await seats.make_room(tx, account, body.id)
        case Site() | Calendar():
            await queues.look_again(tx, account)
    directory = await store.read_fresh(tx, account)
    return frozenset((account, group) for group in directory.groups)


_add_resource("sites", "site", Site)
_add_resource("plans", "plan", Plan)
_add_resource("groups", "group", Group)
_add_resource("agents", "agent", Agent)
_add_resource("calendars", "calendar", Calendar)
_add_resource("addresses", "address", MailAddress)
