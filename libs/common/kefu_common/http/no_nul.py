"""A NUL in a path or query names nothing: PostgreSQL has no text that holds one, and would answer with an error."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from kefu_common.http.problems import Invalid, NotFound, respond

_NUL: Final = "\x00"


class NoNul:
    """ASGI middleware that answers such requests itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and _NUL in scope["path"]:
            await respond(NotFound("there is nothing of that name"))(scope, receive, send)
        elif scope["type"] == "http" and b"%00" in scope["query_string"]:
            given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            wrong = sorted({name.replace(_NUL, "") for name, value in given if _NUL in name + value})
            problem = Invalid([(name, "expected a text without NUL characters") for name in wrong])
            await respond(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
