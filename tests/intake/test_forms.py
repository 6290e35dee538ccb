"""What intake takes and what it refuses, and where it says the fault is."""

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from pydantic import BaseModel

from kefu_common.events.envelope import TYPE_PREFIX
from kefu_common.events.interactions import INTERACTION_MODELS, STAMPED, InteractionData
from kefu_intake.api.body import oversized_items
from kefu_intake.domain.complaints import MOST
from kefu_intake.domain.forms import PATHS, FormInvalid, NotJson, read_form, take_form
from kefu_intake.domain.stamping import out_of_time
from kefu_intake.domain.twins import twin
from tests.intake.building import EXAMPLES, a_post, body_of
from tests.intake.corpus import CASES, Case

NOW = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_body_gets_its_answer(case: Case) -> None:
    got: int | frozenset[str]
    try:
        read_form(case.path, case.body)
        got = 202
    except NotJson:
        got = 400
    except FormInvalid as error:
        got = frozenset(path for path, _ in error.complaints)
    assert got == case.expected


@pytest.mark.parametrize("case", [c for c in CASES if c.status != 400], ids=lambda case: case.name)
def test_an_item_of_an_array_is_judged_like_a_single_event(case: Case) -> None:
    item = json.loads(case.body)
    got: int | frozenset[str]
    try:
        take_form(case.path, item)
        got = 202
    except FormInvalid as error:
        got = frozenset(path for path, _ in error.complaints)
    assert got == case.expected


def test_every_type_has_a_path_and_an_example() -> None:
    types = {TYPE_PREFIX + type for types in PATHS.values() for type in types}
    assert types == set(INTERACTION_MODELS)
    assert {(path, type) for path, types in PATHS.items() for type in types} == {
        (path, type) for path, examples in EXAMPLES.items() for type, _ in examples
    }


@pytest.mark.parametrize("model", INTERACTION_MODELS.values(), ids=lambda model: model.__name__)
def test_a_strict_twin_has_exactly_the_reader_s_fields(model: type[InteractionData]) -> None:
    wire = {
        info.alias or name: info.is_required()
        for name, info in model.model_fields.items()
        if STAMPED not in info.metadata
    }
    assert {name: name in twin(model).__required_keys__ for name in twin(model).__annotations__} == wire


def test_a_new_text_field_without_a_bound_cannot_be_overlooked() -> None:
    class WithNews(BaseModel):
        unbounded: str

    with pytest.raises(TypeError, match="unbounded: how long may it be"):
        twin(WithNews)


def test_a_body_full_of_nonsense_gets_a_short_answer() -> None:
    with pytest.raises(FormInvalid) as caught:
        read_form("chats", body_of(a_post() | {f"x{n}": n for n in range(5000)}))
    assert len(caught.value.complaints) == MOST


@pytest.mark.parametrize(
    ("path", "post", "message"),
    [
        ("id", a_post(id="a\x00"), "expected a text without control characters"),
        ("type", a_post("call.held"), "expected one of: chat.started, chat.message, chat.ended"),
        ("occurred_at", a_post(occurred_at="yesterday"), "such as 2026-11-23T09:30:00+08:00"),
        ("site", a_post(site=...), "required"),
        ("foo", a_post(foo=1), "unknown field"),
        ("data", a_post(data=5), "expected an object"),
    ],
)
def test_a_complaint_says_what_was_expected(path: str, post: object, message: str) -> None:
    with pytest.raises(FormInvalid) as caught:
        read_form("chats", body_of(post))
    assert message in dict(caught.value.complaints)[path]


@pytest.mark.parametrize(
    ("offset", "is_refused"),
    [
        (timedelta(minutes=5), False),
        (timedelta(minutes=5, seconds=1), True),
        (timedelta(days=-7), False),
        (timedelta(days=-7, seconds=-1), True),
        (timedelta(), False),
    ],
)
def test_the_time_may_be_5_minutes_ahead_and_7_days_back(offset: timedelta, is_refused: bool) -> None:
    assert (out_of_time(NOW + offset, NOW) is not None) == is_refused


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_are_only_out_of_time(time: str) -> None:
    form = read_form("chats", body_of(a_post(occurred_at=time)))
    assert out_of_time(form["occurred_at"], NOW) is not None


def test_the_bytes_of_an_item_count_as_they_were_posted() -> None:
    # given: 300,000 characters that are 6 bytes each as escapes, and 3 as UTF-8
    escaped = b'"' + rb"\u4e2d" * 300_000 + b'"'
    plain = '"中"'.encode()
    # then: only what is over 1 MiB as it stands is too large
    assert oversized_items(b" [ " + escaped + b" , " + plain + b",{}," + escaped + b"\n] ") == {0, 3}
    assert oversized_items(b"[" + plain + b" " * 2**20 + b"]") == frozenset()
    assert oversized_items(b" " * 2**20 + b"[]") == frozenset()


def test_literals_of_readers_stay_literals() -> None:
    with pytest.raises(FormInvalid):
        read_form("chats", body_of(a_post(data={"from": "system"})))
    assert get_args(INTERACTION_MODELS["kefu.chat.message"].model_fields["from_"].annotation) == ("contact",)


def test_with_a_wrong_type_the_other_wrong_fields_are_told_too() -> None:
    with pytest.raises(FormInvalid) as refused:
        take_form("chats", {"type": "chat.startd", "site": "shop", "occured_at": "2026", "contact": {"fone": "1"}})
    paths = {path for path, _ in refused.value.complaints}
    assert paths == {"type", "id", "interaction", "occurred_at", "occured_at", "contact.fone"}
