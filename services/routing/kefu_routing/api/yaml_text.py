"""YAML as we take it: mappings, lists and texts, and nothing that a file from elsewhere could hurt us with.

Every scalar is a text (or null): the model knows whether a number is meant. So `10:00` is no sexagesimal number, the
country `NO` is not false, and the staff number 0815 keeps its zero.
"""

from dataclasses import dataclass
from typing import Any, Final

import yaml

_DEEPEST: Final = 30
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotYaml(Exception):
    """The text is no YAML, or holds what we do not take; the message says what and in which line."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun."""

    content: dict[str, Any] | list[Any]
    key: str | None = None
    """Of a mapping: the one whose value comes next."""

    def take(self, value: Any, event: yaml.Event) -> None:
        if isinstance(self.content, list):
            self.content.append(value)
        elif self.key is None:
            if not isinstance(value, str):
                raise _refused(event, "a key must be a text")
            if value in self.content:
                raise _refused(event, f"the key {value} is there twice")
            self.key = value
        else:
            self.content[self.key], self.key = value, None


def read_yaml(raw: bytes) -> Any:
    """The one document of a file. Raises `NotYaml`."""
    root: list[Any] = []
    opened = [_Open(root)]
    try:
        for event in yaml.parse(raw, Loader=_LOADER):
            _take(event, opened)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotYaml(" ".join(str(error).split())) from None
    if len(root) > 1:
        raise NotYaml("expected one document")
    return root[0] if root else None


def _take(event: yaml.Event, opened: list[_Open]) -> None:
    if getattr(event, "tag", None) is not None:
        raise _refused(event, "tags (!name) are not taken")
    match event:
        case yaml.AliasEvent():
            raise _refused(event, "aliases (*name) are not taken")
        case yaml.ScalarEvent():
            is_key = isinstance(opened[-1].content, dict) and opened[-1].key is None
            is_null = event.implicit[0] and event.value in _NULLS and not is_key
            opened[-1].take(None if is_null else event.value, event)
        case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
            if len(opened) > _DEEPEST:
                raise _refused(event, f"nested more than {_DEEPEST} deep")
            opened.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
        case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
            done = opened.pop()
            opened[-1].take(done.content, event)
        case _:
            pass


def _refused(event: yaml.Event, what: str) -> NotYaml:
    assert event.start_mark is not None
    return NotYaml(f"line {event.start_mark.line + 1}: {what}")


class _Readable(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # one of the two, as installed
    """Block style, Chinese as it is, and no anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def write_yaml(content: Any) -> bytes:
    """JSON-like content as YAML for people."""
    written: bytes = yaml.dump(
        content, Dumper=_Readable, allow_unicode=True, sort_keys=False, width=120, encoding="utf-8"
    )
    return written
