"""The directory over HTTP: accounts, and the objects that are alike. Calendars and keys have modules of their own."""

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from kefu_common.events.directory import (
    Account,
    Agent,
    ApiKey,
    Calendar,
    Category,
    Department,
    DirectoryObject,
    Group,
    Kind,
    MailAddress,
    Plan,
    Role,
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
    by,
    directory_of,
    expected_version,
    now,
    respond,
    run,
)
from kefu_routing.domain import references, turns
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.store import directory as store
from kefu_routing.store import queues, seats, secrets

router = APIRouter(prefix="/v1", tags=["directory"])
ERRORS = problems.declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)
Show = Callable[[dict[str, Any]], dict[str, Any]]
"""An object as callers see it."""
Complete = Callable[[DirectoryObject, AccountDirectory], DirectoryObject]
"""What a new object gets that it does not name."""


def documented_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=f"#/components/schemas/{model.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/accounts", status_code=201, responses=ERRORS, openapi_extra=documented_body(Account))
async def create_account(request: Request, who: Who, service: Service) -> Response:
    """Make an account (operator's key). Its admin key is shown once, here."""
    who.need_operator()
    body = await body_of(request, Account)
    secret = new_key(body.id)
    admin = ApiKey(id="admin", scopes=list(SCOPES), hash=hash_key(secret))

    async def command(tx: Connection) -> Answer:
        try:
            await store.add_account(tx, body, by(request, who))
            await store.add(tx, body.id, "key", admin, by(request, who))
            await secrets.make(tx, service.sealer, body.id, by(request, who))
        except store.Exists:
            raise problems.Conflict(f"the account {body.id} exists") from None
        return Answer({**body.model_dump(mode="json"), "keys": {"admin": secret}}, 201, "1")

    return await run_once(service, command)


@router.get("/accounts", responses=ERRORS)
async def list_accounts(page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
    """All accounts, newest first (operator's key)."""
    who.need_operator()
    rows = await store.accounts(service.db.pool, page.after_number(), page.limit + 1)
    return respond(Answer(page.of(rows, lambda row: row["number"], lambda row: row["body"])))


@router.get("/accounts/{id}", responses=ERRORS)
async def read_account(id: str, who: Who, service: Service) -> Response:
    """An account: one's own, or any with the operator's key."""
    account = _account_for(who, id)
    return await _read(service, account, "account", id, shown.directory_object)


@router.put("/accounts/{id}", responses=ERRORS, openapi_extra=documented_body(Account))
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


def add_reading(router: APIRouter, path: str, kind: Kind, show: Show = shown.directory_object) -> None:
    """The routes by which objects of a kind are listed, read and deleted."""
    tags: list[Any] = [path]

    @router.get(f"/{path}", responses=ERRORS, name=f"list_{path}", tags=tags)
    async def list_objects(page: Annotated[Page, Query()], who: Who, service: Service) -> Response:
        who.need("directory:read")
        rows = await store.page(service.db.pool, who.account, kind, page.after_number(), page.limit + 1)
        return respond(Answer(page.of(rows, lambda row: row["number"], lambda row: show(row["body"]))))

    @router.get(f"/{path}/{{id}}", responses=ERRORS, name=f"read_{kind}", tags=tags)
    async def read_object(id: str, who: Who, service: Service) -> Response:
        who.need("directory:read")
        return await _read(service, who.account, kind, id, show)

    @router.delete(f"/{path}/{{id}}", status_code=204, responses=ERRORS, name=f"delete_{kind}", tags=tags)
    async def delete_object(id: str, request: Request, who: Who, service: Service) -> Response:
        who.need("directory:write")
        return await _delete(request, who, service, kind, id)


def _as_given(body: DirectoryObject, _directory: AccountDirectory) -> DirectoryObject:
    return body


def add_resource(
    router: APIRouter,
    path: str,
    kind: Kind,
    model: type[DirectoryObject],
    show: Show = shown.directory_object,
    complete: Complete = _as_given,
) -> None:
    """The five routes that most kinds of objects have."""
    add_reading(router, path, kind, show)
    tags: list[Any] = [path]
    documented = documented_body(model)

    @router.post(
        f"/{path}", status_code=201, responses=ERRORS, name=f"create_{kind}", tags=tags, openapi_extra=documented
    )
    async def create_object(request: Request, who: Who, service: Service) -> Response:
        who.need("directory:write")
        return await _create(request, who, service, kind, await body_of(request, model), complete)

    @router.put(f"/{path}/{{id}}", responses=ERRORS, name=f"change_{kind}", tags=tags, openapi_extra=documented)
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


async def _read(service: Service, account: str, kind: Kind, id: str, show: Show) -> Response:
    found = await store.get(service.db.pool, account, kind, id)
    if found is None:
        raise problems.NotFound(f"there is no {kind} {id}")
    return respond(Answer(show(found[0]), etag=str(found[1])))


async def _create(
    request: Request, who: Who, service: Service, kind: Kind, given: DirectoryObject, complete: Complete
) -> Response:
    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        directory = await directory_of(tx, service, who)
        body = complete(given, directory)
        need_whole(directory, body)
        try:
            version = await store.add(tx, who.account, kind, body, by(request, who))
        except store.Exists:
            raise problems.Conflict(f"the {kind} {body.id} exists") from None
        except store.AddressTaken:
            raise problems.Conflict("address: it is another site's already") from None
        groups = await follow_up(tx, who.account, [body])
        return Answer(body.model_dump(mode="json"), 201, str(version), groups)

    return await run(request, who, service, given, command)


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
            need_whole(await directory_of(tx, service, who), body)
        version = await put_object(tx, request, who, account, kind, body)
        groups = await follow_up(tx, account, [body])
        return Answer(body.model_dump(mode="json"), etag=str(version), groups=groups)

    return await run(request, who, service, body, command)


async def put_object(
    tx: Connection, request: Request, who: Who, account: str, kind: Kind, body: DirectoryObject
) -> int:
    """Change an object. Raises `PreconditionFailed` or `Conflict`."""
    try:
        return await store.put(tx, account, kind, body, expected_version(request), by(request, who))
    except store.VersionChanged:
        raise problems.PreconditionFailed(f"somebody else changed the {kind} {body.id}; read it again") from None
    except store.AddressTaken:
        raise problems.Conflict("address: it is another site's already") from None


async def _delete(request: Request, who: Who, service: Service, kind: Kind, id: str) -> Response:
    async def command(tx: Connection) -> Answer:
        await store.lock_account(tx, who.account)
        directory = await directory_of(tx, service, who)
        users = references.users_of(kind, id, directory)
        if kind == "site":
            users += [f"key/{key}" for key, _ in await store.keys_of_sites(tx, who.account, [id])]
        if users:
            raise problems.Conflict(f"the {kind} {id} is still used", used_by=users)
        busy = await busy_with(tx, who.account, {(kind, id)})
        if busy:
            raise problems.Conflict(busy[kind, id])
        try:
            await store.delete(tx, who.account, kind, id, expected_version(request), by(request, who))
        except store.Missing:
            raise problems.NotFound(f"there is no {kind} {id}") from None
        except store.VersionChanged:
            raise problems.PreconditionFailed(f"somebody else changed the {kind} {id}; read it again") from None
        return Answer(None, 204)

    return await run(request, who, service, None, command)


async def busy_with(tx: Connection, account: str, objects: Collection[tuple[Kind, str]]) -> dict[tuple[Kind, str], str]:
    """Why some of these objects of a locked account cannot go yet, though nothing in the directory names them."""
    agents = {id for kind, id in objects if kind == "agent"}
    groups = {id for kind, id in objects if kind == "group"}
    if not agents and not groups:
        return {}
    found: dict[tuple[Kind, str], str] = {}
    busy_groups, busy_agents = await queues.used(tx, account, groups, agents)
    for group in busy_groups:
        found["group", group] = f"the group {group} still has open tickets"
    for agent in busy_agents:
        found["agent", agent] = f"the agent {agent} still has open tickets"
    for agent in agents.intersection(await seats.signed_in(tx, account)):
        found["agent", agent] = f"the agent {agent} is signed in"
    return found


def need_whole(directory: AccountDirectory, body: DirectoryObject) -> None:
    """Raises `Invalid` for an object that refers to what is not there."""
    faults = references.faults(body, directory)
    if faults:
        raise problems.Invalid(faults)


async def follow_up(tx: Connection, account: str, changed: Sequence[DirectoryObject]) -> frozenset[tuple[str, str]]:
    """What changed objects mean for tickets that wait; returns the groups to look at again."""
    agents = [body.id for body in changed if isinstance(body, Agent)]
    if agents:
        await seats.make_room(tx, account, agents)
    directory = await store.read_fresh(tx, account)
    if any(isinstance(body, Site | Calendar) for body in changed):
        at = now()
        await queues.open_anew(tx, {(account, site): turns.opens_at(directory, site, at) for site in directory.sites})
    return frozenset((account, group) for group in directory.groups)


add_resource(router, "sites", "site", Site)
add_resource(router, "plans", "plan", Plan)
add_resource(router, "groups", "group", Group)
add_resource(router, "agents", "agent", Agent)
add_resource(router, "roles", "role", Role)
add_resource(router, "departments", "department", Department)
add_resource(router, "categories", "category", Category)
add_resource(router, "addresses", "address", MailAddress)
