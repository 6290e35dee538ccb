"""Events as they travel: every model there and back, and every one that was ever published still readable."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kefu_common.events.envelope import Event, Unreadable, body_hash, read_event
from tests.common.registries import Registry, registries

EXAMPLES = Path(__file__).parent / "examples"
TYPES = [(topic, name, model) for topic, models in registries().items() for name, model in models.items()]
AWARE = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]))  # fmt: skip # noqa: DTZ001, E501
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def value_of(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON that the schema allows, as far as events use it."""
    if "$ref" in schema:
        return value_of(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return st.one_of([value_of(s, defs) for s in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"), schema.get("format"):
        case "string", "uuid":
            return st.uuids().map(str)
        case "string", "date-time":
            return AWARE.map(datetime.isoformat)
        case "string", _:
            return TEXT
        case "integer", _:
            return st.integers(schema.get("minimum", -(2**62)), schema.get("maximum", 2**62))
        case "number", _:
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean", _:
            return st.booleans()
        case "null", _:
            return st.none()
        case "array", _:
            return st.lists(value_of(schema["items"], defs), max_size=3)
        case "object", _ if "properties" in schema:
            required = set(schema.get("required", ()))
            fields = {name: value_of(s, defs) for name, s in schema["properties"].items()}
            return st.fixed_dictionaries(
                {n: s for n, s in fields.items() if n in required},
                optional={n: s for n, s in fields.items() if n not in required},
            )
        case "object", _:
            more = schema.get("additionalProperties", True)
            return st.dictionaries(TEXT, TEXT if more is True else value_of(more, defs), max_size=3)
    raise AssertionError(f"teach this test about {schema}")


def data_of(model: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    schema = model.model_json_schema(by_alias=True)
    return value_of(schema, schema.get("$defs", {})).map(model.model_validate)


@pytest.mark.parametrize(("topic", "name", "model"), TYPES, ids=[t[1] for t in TYPES])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_event_comes_back_as_it_went(topic: str, name: str, model: type[BaseModel], data: st.DataObject) -> None:
    body = data.draw(data_of(model))
    event = Event(
        uuid4(),
        name,
        "/sites/店",
        data.draw(TEXT),
        data.draw(AWARE),
        "acme",
        body,
        data.draw(st.none() | st.integers(0, 2**40)),
    )
    models: Registry = registries()[topic]
    again = read_event(event.to_bytes(), models)
    assert again == event
    assert again.to_bytes() == event.to_bytes()
    assert body_hash(again) == body_hash(event)


def test_the_hash_of_a_body_ignores_the_trace_context_only() -> None:
    _, name, model = next(t for t in TYPES if t[1] == "kefu.message.left")
    at = datetime.now(UTC)

    def event(**changed: Any) -> Event[BaseModel]:
        fields: dict[str, Any] = {
            "id": uuid4(), "type": name, "source": "/sites/a", "subject": "s", "time": at, "account": "acme",
            "data": model.model_validate({"text": "hello"}),
        }  # fmt: skip
        return Event(**(fields | changed))

    first = body_hash(event())
    assert body_hash(event(traceparent="00-1")) == first
    changes: list[dict[str, Any]] = [
        {"type": "kefu.chat.message"}, {"source": "/sites/b"}, {"subject": "t"}, {"time": at + timedelta(seconds=1)},
        {"data": model.model_validate({"text": "hello!"})},
        {"data": model.model_validate({"text": "hello", "category": "x"})},
    ]  # fmt: skip
    for change in changes:
        assert body_hash(event(**change)) != first, change


def test_fields_that_a_newer_writer_added_are_ignored_and_what_is_wrong_is_told_without_its_value() -> None:
    models = registries()["kefu.interactions.v1"]
    fields = json.loads((EXAMPLES / "kefu.interactions.v1" / "kefu.rating.given.json").read_bytes())
    fields["added"] = fields["data"]["added"] = {"later": 1}
    read_event(json.dumps(fields).encode(), models)
    fields["data"]["score"] = "王芳 +8613800138000"
    with pytest.raises(Unreadable) as caught:
        read_event(json.dumps(fields).encode(), models)
    assert caught.value.reason == "invalid_data"
    assert "score" in caught.value.detail
    assert "138" not in str(caught.value)


PUBLISHED = sorted(EXAMPLES.glob("*/*.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=[p.stem for p in PUBLISHED])
def test_what_was_published_once_can_be_read_for_ever(path: Path) -> None:
    # Never edit an example: a new version of an event gets a file of its own beside it (kefu.x.y.2.json).
    event = read_event(path.read_bytes(), registries()[path.parent.name])
    assert path.name.startswith(event.type)
    assert read_event(event.to_bytes(), registries()[path.parent.name]) == event


def test_there_is_an_example_of_every_type() -> None:
    there = {(path.parent.name, json.loads(path.read_bytes())["type"]) for path in PUBLISHED}
    missing = {(topic, name) for topic, name, _ in TYPES} - there
    assert not missing, f"say `python -m tests.common.make_examples`, look at the new files and commit them: {missing}"


def test_every_field_is_in_some_example() -> None:
    for topic, name, model in TYPES:
        said: set[str] = set()
        for path in (EXAMPLES / topic).glob(f"{name}*.json"):
            fields = json.loads(path.read_bytes())
            if fields["type"] == name:
                said |= fields["data"].keys()
        aliases = {field.alias or n for n, field in model.model_fields.items()}
        assert said >= aliases, (
            f"{name}: no example has {aliases - said}; say `python -m tests.common.make_examples {name}` for a new one"
        )
