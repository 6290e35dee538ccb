"""What each route of notifications needs."""

from typing import Final

from kefu_common.http.needs import KNOWN, OPERATOR, Needs, permission

NEEDS: Final[Needs] = {
    ("GET", "/v1/settings"): permission("messages:read"),
    ("PUT", "/v1/settings"): permission("settings:write"),
    ("GET", "/v1/messages"): permission("messages:read"),
    ("GET", "/v1/messages/{id}"): permission("messages:read"),
    ("POST", "/v1/messages/{id}/retry"): permission("settings:write"),
    ("GET", "/v1/credit"): permission("messages:read"),
    ("POST", "/v1/credit/top-ups"): OPERATOR,
    # each feed has a scope of its own
    ("GET", "/v1/stream"): KNOWN,
}
