"""The words that a role's permissions may be."""

from typing import Final

from kefu_common.http.auth import SCOPES

PERMISSIONS: Final = frozenset({*SCOPES, "agents:lead", "tickets:lead", "audit:read", "contacts:unmask"})
