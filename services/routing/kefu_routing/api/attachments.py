"""Files that contacts sent, for whoever may read the ticket."""

from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from kefu_common.attachments import parse_ref
from kefu_common.http import problems
from kefu_common.objects import ObjectMissing, ObjectsAway
from kefu_routing.api.context import Service, Who
from kefu_routing.api.tickets import read_ticket_of
from kefu_routing.store import conversation

router = APIRouter(prefix="/v1", tags=["tickets"])


@router.get(
    "/tickets/{id}/messages/{message}/attachments/{number}",
    response_class=StreamingResponse,
    responses={200: {"content": {"*/*": {}}}, **problems.declared(401, 403, 404, 422, 503)},
)
async def read_attachment(id: UUID, message: UUID, number: int, who: Who, service: Service) -> StreamingResponse:
    """A file's bytes, as the link in the message names it: always to be saved, never to be shown by a browser."""
    await read_ticket_of(service.db.pool, who, id)
    found = await conversation.of_id(service.db.pool, id, message)
    files = [] if found is None else found.attachments
    file = files[number] if 0 <= number < len(files) else {"ref": ""}
    attachment = parse_ref(file["ref"])
    if attachment is None:
        raise problems.NotFound("there is no such attachment")
    try:
        opened = await service.objects.open(who.account, attachment)
    except ObjectMissing:
        raise problems.NotFound("the file is not in the object store") from None
    except ObjectsAway:
        raise problems.Unavailable("the object store is away; try the same again") from None
    name = quote(file.get("name") or attachment.sha256, safe="")
    headers = {
        "Content-Length": str(opened.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        # Whatever a stranger sent must not run on our origin, also when somebody opens it after all.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(opened.pieces, 200, headers, attachment.type)
