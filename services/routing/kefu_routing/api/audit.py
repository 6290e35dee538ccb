"""Who changed what in the directory, over HTTP."""

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Query
from starlette.responses import Response

from kefu_common.events.directory import Kind
from kefu_common.http import problems
from kefu_common.http.lists import Page
from kefu_routing.api.context import Answer, Service, Who, respond
from kefu_routing.domain.changes import action_of, diff
from kefu_routing.store import changes as store

router = APIRouter(prefix="/v1", tags=["audit"])
_ERRORS = problems.declared(401, 403, 422, 503)


class AuditPage(Page):
    """Of one kind, one object, one agent or one key; all of them without."""

    kind: Kind | None = None
    id: str | None = None
    agent: str | None = None
    key: str | None = None


@router.get("/audit", responses=_ERRORS)
async def list_changes(page: Annotated[AuditPage, Query()], who: Who, service: Service) -> Response:
    """Changes of the directory, newest first: who changed which fields, from what to what."""
    who.need("directory:read")
    filters = page.model_dump(include={"kind", "id", "agent", "key"}, exclude_none=True)
    rows = await store.page(service.db.pool, who.account, filters, page.after_number(), page.limit + 1)
    return respond(Answer(page.of(rows, lambda row: row["number"], _shown)))


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "at": row["at"],
        "kind": row["kind"],
        "id": row["id"],
        "version": row["version"],
        "action": action_of(row["before"], row["after"]),
        "by": {"key": row["key"], "agent": row["agent"]},
        "changes": diff(row["before"], row["after"]),
    }
