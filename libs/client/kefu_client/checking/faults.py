"""What is wrong with posts, whatever they were about: pure."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from kefu_client.checking.stage import Posted

REQUIRED: Final = ("id", "type", "site", "interaction", "occurred_at")
CLOUD_EVENT: Final = {"occurred_at": "time", "site": "source", "interaction": "subject"}
OUTCOMES: Final = frozenset({"instruction.done", "instruction.failed", "instruction.delivered", "instruction.read"})


def faults_of_form(posts: Sequence[Posted]) -> list[str]:
    """Missing fields, times without a zone, and ids that stand for two different events."""
    found: list[str] = []
    bodies: dict[tuple[str, str, str], str] = {}
    for post in posts:
        found += _form(post)
        identity = (str(post.event.get("site")), post.type, str(post.event.get("id")))
        body = json.dumps(post.event, sort_keys=True)
        if bodies.setdefault(identity, body) != body:
            found.append(f"{post.type} {identity[2]}: the same id came with another body")
    return list(dict.fromkeys(found))


def outcomes_of(posts: Sequence[Posted], instruction: str) -> list[Posted]:
    """The outcomes of an instruction that were posted, each id once."""
    found: dict[str, Posted] = {}
    for post in posts:
        if post.type in OUTCOMES and post.data.get("instruction") == instruction:
            found.setdefault(str(post.event.get("id")), post)
    return list(found.values())


def _form(post: Posted) -> list[str]:
    event: dict[str, Any] = post.event
    is_cloud_event = "specversion" in event
    names = [CLOUD_EVENT.get(name, name) if is_cloud_event else name for name in REQUIRED]
    found = [f"{post.type or post.path}: expected the field {name}" for name in names if not event.get(name)]
    at = event.get("time" if is_cloud_event else "occurred_at")
    if at and not _has_zone(at):
        found.append(f"{post.type}: expected occurred_at as RFC 3339 with a time zone")
    return found


def _has_zone(text: object) -> bool:
    try:
        return datetime.fromisoformat(str(text)).tzinfo is not None
    except ValueError:
        return False
