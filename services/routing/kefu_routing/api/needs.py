"""What each route of routing needs."""

from typing import Final

from kefu_common.http.needs import KNOWN, OPERATOR, OWN, PUBLIC, Need, Needs, permission, work

_READ_TICKETS: Final = permission("tickets:read")
_WORK: Final = work("tickets:write")
_READ_DIRECTORY: Final = permission("directory:read")
_WRITE_DIRECTORY: Final = permission("directory:write")
_TICKET: Final = "/v1/tickets/{id}"
_MESSAGES: Final = f"{_TICKET}/messages"
_AGENT: Final = "/v1/agents/{id}"
_FACTOR: Final = "/v1/me/second-factor"

_RESOURCES: Final = (
    "sites",
    "plans",
    "groups",
    "agents",
    "roles",
    "departments",
    "calendars",
    "categories",
    "addresses",
    "keys",
)
"""Each has the five routes that most objects of the directory have."""
_COMMANDS: Final = ("claim", "reply", "note", "transfer", "resolve", "unmerge")


def _five_routes(resource: str) -> dict[tuple[str, str], Need]:
    every, one = f"/v1/{resource}", f"/v1/{resource}/{{id}}"
    reading = {("GET", every): _READ_DIRECTORY, ("GET", one): _READ_DIRECTORY}
    writing = [("POST", every), ("PUT", one), ("DELETE", one)]
    return {**reading, **dict.fromkeys(writing, _WRITE_DIRECTORY)}


NEEDS: Final[Needs] = {
    ("POST", "/v1/accounts"): OPERATOR,
    ("GET", "/v1/accounts"): OPERATOR,
    ("GET", "/v1/accounts/{id}"): permission("directory:read", or_operator=True),
    ("PUT", "/v1/accounts/{id}"): OPERATOR,
    **{route: need for resource in _RESOURCES for route, need in _five_routes(resource).items()},
    ("POST", "/v1/keys/{id}/rotate"): _WRITE_DIRECTORY,
    ("POST", "/v1/calendars/{id}/holidays"): _WRITE_DIRECTORY,
    ("GET", "/v1/calendars/{id}/hours"): _READ_DIRECTORY,
    ("GET", "/v1/directory"): _READ_DIRECTORY,
    ("PUT", "/v1/directory"): _WRITE_DIRECTORY,
    ("GET", "/v1/audit"): permission("audit:read"),
    ("GET", f"{_AGENT}/check"): _READ_TICKETS,
    ("GET", "/v1/visits"): _READ_TICKETS,
    ("POST", "/v1/visits/{id}/invite"): _WORK,
    # a web page asks with the key of its adapter
    ("GET", "/v1/sites/{id}/availability"): KNOWN,
    ("GET", "/v1/queues"): _READ_TICKETS,
    ("POST", f"{_AGENT}/sign-in"): OWN,
    ("POST", f"{_AGENT}/sign-out"): OWN,
    ("POST", f"{_AGENT}/heartbeat"): OWN,
    ("PUT", f"{_AGENT}/presence"): OWN,
    ("GET", f"{_AGENT}/offers"): _READ_TICKETS,
    ("GET", "/v1/presence"): _READ_TICKETS,
    ("PUT", f"{_AGENT}/password"): _WRITE_DIRECTORY,
    ("DELETE", f"{_AGENT}/second-factor"): _WRITE_DIRECTORY,
    ("POST", "/v1/offers/{id}/accept"): _WORK,
    ("POST", "/v1/offers/{id}/decline"): _WORK,
    **{("POST", f"{_TICKET}/{command}"): _WORK for command in _COMMANDS},
    ("GET", "/v1/tickets"): _READ_TICKETS,
    ("GET", _TICKET): _READ_TICKETS,
    ("GET", f"{_TICKET}/history"): _READ_TICKETS,
    ("GET", _MESSAGES): _READ_TICKETS,
    ("GET", f"{_MESSAGES}/{{message}}/attachments/{{number}}"): _READ_TICKETS,
    ("GET", "/v1/contacts/{id}"): _READ_TICKETS,
    ("GET", "/v1/contacts/{id}/visits"): _READ_TICKETS,
    # who signs in, or has forgotten the password, has nothing else to show
    ("POST", "/v1/sessions"): PUBLIC,
    ("POST", "/v1/sessions/renew"): PUBLIC,
    ("GET", "/v1/sessions/oidc"): PUBLIC,
    ("GET", "/v1/sessions/oidc/callback"): PUBLIC,
    ("POST", "/v1/password-resets"): PUBLIC,
    ("POST", "/v1/password-resets/{token}"): PUBLIC,
    ("DELETE", "/v1/sessions/current"): OWN,
    ("GET", "/v1/me"): OWN,
    ("PUT", "/v1/me"): OWN,
    ("PUT", "/v1/me/password"): OWN,
    ("POST", _FACTOR): OWN,
    ("POST", f"{_FACTOR}/confirm"): OWN,
    ("POST", f"{_FACTOR}/remove"): OWN,
}
