"""Every event type of libs/common, found by looking: a list kept by hand would forget the new one."""

import importlib
import pkgutil
from uuid import UUID

from pydantic import BaseModel

from kefu_common import events
from kefu_common.kafka.topics import AGENTS, CONTACTS, DELIVERIES, DIRECTORY, INTERACTIONS, MESSAGES, OUTBOUND, TICKETS

Registry = dict[str, type[BaseModel]]

TOPIC_OF_MODULE = {
    "agents": AGENTS,
    "contacts": CONTACTS,
    "deliveries": DELIVERIES,
    "directory": DIRECTORY,
    "interactions": INTERACTIONS,
    "messages": MESSAGES,
    "outbound": OUTBOUND,
    "tickets": TICKETS,
}
EXAMPLE_ID = UUID("01a20000-0000-7000-8000-000000000001")


def registries() -> dict[str, Registry]:
    """By topic: every `…_MODELS` whose keys are full event types."""
    found: dict[str, Registry] = {}
    for info in pkgutil.iter_modules(events.__path__):
        module = importlib.import_module(f"kefu_common.events.{info.name}")
        for name, value in vars(module).items():
            if not (name.endswith("_MODELS") and isinstance(value, dict)):
                continue
            if all(isinstance(key, str) and key.startswith("kefu.") for key in value):
                found.setdefault(TOPIC_OF_MODULE[info.name].name, {}).update(value)
    return found
