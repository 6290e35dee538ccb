"""What schemathesis cannot know: the sites that there are, and what time it is."""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext


@schemathesis.hook
def map_case(_context: HookContext, case: "Case[Any]") -> "Case[Any]":
    """Well-formed events are of a site that there is, and of now; those that are wrong on purpose stay so."""
    if case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE:
        case.body = [_real(each) for each in case.body] if isinstance(case.body, list) else _real(case.body)
        if "site" in (case.query or {}):
            case.query = {**case.query, "site": "shop"}
    return case


def _real(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    now = datetime.now(UTC).isoformat()
    if "specversion" in event:
        return {**event, "source": "/sites/shop", "time": now}
    return {**event, "site": "shop", "occurred_at": now}
