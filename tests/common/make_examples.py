"""`python -m tests.common.make_examples [type …]`: writes example files of event types that have none.

With a type's name: a further version beside those that are there. Files that exist are never changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kefu_common.events.envelope import Event, read_event
from tests.common.registries import EXAMPLE_ID, registries

EXAMPLES = Path(__file__).parent / "examples"
AT = "2026-11-23T09:30:00+08:00"
SAID = {"time_zone": "Asia/Shanghai", "site": "shop", "phone": "+8613800138000", "email": "w@example.com", "score": 4}


def example_of(name: str, schema: dict[str, Any], defs: dict[str, Any]) -> Any:
    """One value that the schema allows, with every field."""
    if "$ref" in schema:
        return example_of(name, defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return example_of(name, schema["anyOf"][0], defs)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if name in SAID:
        return SAID[name]
    match schema.get("type"), schema.get("format"):
        case "string", "uuid":
            return str(EXAMPLE_ID)
        case "string", "date-time":
            return AT
        case "array", _:
            return [example_of(name.rstrip("s"), schema["items"], defs)]
        case "object", _ if "properties" in schema:
            return {n: example_of(n, s, defs) for n, s in schema["properties"].items()}
        case "object", _:
            return {}
    simple: dict[str, Any] = {"string": name, "integer": schema.get("minimum", 1), "number": 1.5, "boolean": False}
    return simple[schema["type"]]


def write(topic: str, name: str, model: type[BaseModel]) -> Path:
    """One more example of the type."""
    schema = model.model_json_schema(by_alias=True)
    fields = {
        "specversion": "1.0",
        "id": str(EXAMPLE_ID),
        "source": "/sites/shop",
        "type": name,
        "subject": "call-20261123-0001" if "interactions" in topic or "outbound" in topic else str(EXAMPLE_ID),
        "time": AT,
        "datacontenttype": "application/json",
        "dataschema": f"https://kefu.example/schemas/{name}",
        "account": "acme",
        "data": example_of("data", schema, schema.get("$defs", {})),
    }
    event: Event[BaseModel] = read_event(json.dumps(fields).encode(), {name: model})
    assert event.type == name
    there = len(list((EXAMPLES / topic).glob(f"{name}.json")) + list((EXAMPLES / topic).glob(f"{name}.[0-9]*.json")))
    path = EXAMPLES / topic / (f"{name}.{there + 1}.json" if there else f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def main(wanted: list[str]) -> None:
    """Write what is missing, and what is asked for."""
    for topic, models in registries().items():
        for name, model in models.items():
            if name in wanted or not (EXAMPLES / topic / f"{name}.json").exists():
                print(write(topic, name, model))


if __name__ == "__main__":
    main(sys.argv[1:])
