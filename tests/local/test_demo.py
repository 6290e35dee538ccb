"""The demo's rules: who comes when, what is counted, what it says when it cannot play. The hour itself: tests/e2e."""

import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from kefu_local.demo.arrivals import LAST_MINUTE, Arrival, Kind, arrivals
from kefu_local.demo.cli import demo
from kefu_local.demo.people import pool
from kefu_local.demo.talk import BY_LETTER, BY_QUESTION, DIALOGUES, LETTERS
from kefu_local.demo.tally import Tally


def _an_hour(seed: int, load: float = 1.0) -> list[Arrival]:
    rng = Random(seed)
    return arrivals(rng, pool(rng, "0a1b2c3d", 70), load)


def test_the_same_seed_brings_the_same_people() -> None:
    assert _an_hour(7) == _an_hour(7)
    assert _an_hour(7) != _an_hour(8)


@pytest.mark.parametrize("load", [0.0, 0.1, 1.0])
def test_some_come_by_every_way_however_few_they_are(load: float) -> None:
    hour = _an_hour(3, load)
    assert {a.kind for a in hour} == set(Kind)
    assert [a.minute for a in hour] == sorted(a.minute for a in hour)
    assert hour[-1].minute <= LAST_MINUTE


def test_nobody_writes_twice_but_whoever_says_so() -> None:
    writers = [a.contact for a in _an_hour(5, 2.0) if a.kind in (Kind.EMAIL, Kind.MESSAGE)]
    assert len(writers) == len(set(writers))


def test_most_come_in_the_morning_peak() -> None:
    minutes = [a.minute for seed in range(20) for a in _an_hour(seed)]
    in_peak = sum(14 <= minute < 34 for minute in minutes)
    assert in_peak > 0.42 * len(minutes)


def test_an_agent_knows_an_answer_to_every_question() -> None:
    assert len(BY_QUESTION) == sum(len(dialogue.lines) for dialogue in DIALOGUES)
    assert len(BY_LETTER) == len(LETTERS)


def test_one_who_left_too_late_was_answered_and_not_abandoned() -> None:
    tally = Tally()
    tally.left["chat"] |= {"too-late", "in-time"}
    tally.answered["chat"].add("too-late")
    counts = tally.counts()
    assert (counts["answered"]["chat"], counts["abandoned"]["chat"]) == (1, 1)


def test_without_a_stack_one_line_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(demo, ["--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == f"Error: No stack is running in {tmp_path}: start one by `make up`.\n"


def test_a_stack_that_does_not_answer_is_named_in_one_line(tmp_path: Path) -> None:
    services = {"intake": "http://127.0.0.1:9"}
    stack = {"services": services, "keys": {"admin": "x", "adapter": "y"}}
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    result = CliRunner().invoke(demo, ["--dir", str(tmp_path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "intake does not answer" in result.output
