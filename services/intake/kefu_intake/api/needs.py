"""What each route of intake needs."""

from typing import Final

from kefu_common.http.needs import KNOWN, Needs, permission
from kefu_intake.domain.forms import CLOUD_EVENTS, PATHS

NEEDS: Final[Needs] = {
    **{("POST", f"/v1/{path}"): permission(f"{path}:write") for path in PATHS},
    # each event has a type, and each type a scope of its own
    ("POST", f"/v1/{CLOUD_EVENTS}"): KNOWN,
    ("POST", "/v1/emails/raw"): permission("emails:write"),
    # either of two scopes
    ("POST", "/v1/attachments"): KNOWN,
}
