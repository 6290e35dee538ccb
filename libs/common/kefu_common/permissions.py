"""What keys and people may do: the closed list of permission words, and what the built-in roles permit (D-05)."""

from collections.abc import Iterable, Mapping
from typing import Final

from kefu_common.events.directory import BuiltInRole, Role

PERMISSIONS: Final[Mapping[str, str]] = {
    "calls:write": "Post events of calls.",
    "chats:write": "Post events of chats.",
    "emails:write": "Post e-mails.",
    "messages:write": "Post offline messages.",
    "visits:write": "Post visits of web pages.",
    "ratings:write": "Post ratings that contacts give.",
    "outcomes:write": "Post what became of instructions.",
    "outbound:read": "Read the feed of instructions to adapters.",
    "tickets:read": "Read tickets, their conversations, contacts and queues.",
    "tickets:write": "Work on tickets: take, answer, note, pass on, resolve.",
    "tickets:lead": "Give tickets to agents and groups, and change those of others.",
    "agents:lead": "Set any agent's presence; a group's leader sets those of the group without it.",
    "directory:read": "Read sites, plans, groups, agents and all else that an administrator sets up.",
    "directory:write": "Change all that an administrator sets up, keys and passwords included.",
    "messages:read": "Read what people were told by e-mail and SMS, the credit and the settings of both.",
    "settings:write": "Change these settings, and send a failed message again.",
    "reports:read": "Read reports.",
    "audit:read": "Read who changed what.",
    "contacts:unmask": "See contacts' telephone numbers and addresses whole.",
    "act-as": "Act for an agent whom the request names. Of keys only.",
}
"""Each word and what it permits."""

_INGESTION: Final = frozenset(
    {
        "calls:write",
        "chats:write",
        "emails:write",
        "messages:write",
        "visits:write",
        "ratings:write",
        "outcomes:write",
    }
)
_AGENT: Final = frozenset({"tickets:read", "tickets:write", "directory:read"})

BUILT_IN: Final[Mapping[BuiltInRole, frozenset[str]]] = {
    "agent": _AGENT,
    "leader": _AGENT | {"tickets:lead", "reports:read", "messages:read"},
    "administrator": frozenset(PERMISSIONS) - _INGESTION - {"act-as"},
}
"""What the roles permit that every account has without defining them."""


def scopes_of(words: Iterable[str]) -> frozenset[str]:
    """What a key with these scopes may do. From before `audit:read` was a word, `directory:read` reads the audit."""
    found = frozenset(words)
    return found | {"audit:read"} if "directory:read" in found else found


def permissions_of(roles: Iterable[str], defined: Mapping[str, Role]) -> frozenset[str]:
    """What somebody with these roles may do; a role that nobody defined permits nothing.

    Whoever a role permits to act for others would be above all roles, so no role does.
    """
    built_in: dict[str, frozenset[str]] = dict(BUILT_IN.items())
    found: set[str] = set()
    for role in roles:
        own = defined.get(role)
        found |= built_in.get(role, frozenset()) if own is None else PERMISSIONS.keys() & set(own.permissions)
    return frozenset(found - {"act-as"})
