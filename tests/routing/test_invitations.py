"""Whom a rule invites to chat (H-11)."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import InvitationRule
from kefu_routing.domain.hours import NEVER
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.invitations import Watched, choose, due_at, fits
from tests.routing.builders import NOON, a_directory, a_group, an_event, later, nothing_known, some_work


def a_rule(id: str = "r", **fields: Any) -> InvitationRule:
    return InvitationRule(id=id, text="需要帮忙吗？", **fields)


def a_visitor(page: str | None = "/oven", due: float = 0) -> Watched:
    return Watched("acme", "v1", "shop", "web", None, None, page, NOON, later(due))


@pytest.mark.parametrize(
    ("pattern", "page", "expected"),
    [
        (None, "/oven", True),
        (None, None, True),
        ("/oven", "/oven", True),
        ("/oven", "/oven/2", False),
        ("/oven*", "/oven/2", True),
        ("*/oven", "https://shop.example/oven", True),
        ("*oven*", "/a/oven/b", True),
        ("/a*b*c", "/axxbxxc", True),
        ("/a*b*c", "/axxcxxb", False),
        ("ab*ba", "aba", False),
        ("*", None, True),
        ("/oven", None, False),
        ("/o.en", "/oven", False),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str | None, page: str | None, expected: bool) -> None:
    assert fits(pattern, page) is expected


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=10))
def test_patterns_mean_what_a_regular_expression_would(pattern: str, page: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), page) is not None
    assert fits(pattern, page) is expected


def test_a_pattern_full_of_stars_takes_no_time() -> None:
    assert not fits("*a" * 250 + "b", "a" * 1_000_000)


def test_a_visitor_is_looked_at_when_the_next_rule_that_fits_the_page_may_apply() -> None:
    listed = [a_rule(page="/cart", after_s=5), a_rule(page="/o*", after_s=60), a_rule(after_s=20, returning=True)]
    assert due_at(listed, "/oven", NOON, None) == later(20)
    assert due_at(listed, "/oven", NOON, later(20)) == later(60)
    assert due_at(listed, "/oven", NOON, later(60)) == NEVER
    assert due_at([a_rule(page="/cart")], "/oven", NOON, None) == NEVER


def test_the_first_rule_of_which_all_conditions_hold_invites() -> None:
    listed = [
        a_rule("slow", after_s=60),
        a_rule("back", returning=True),
        a_rule("new", returning=False, page="/oven"),
        a_rule("any"),
    ]

    def chosen(at: float, *, page: str = "/oven", is_returning: bool = False, is_online: bool = True) -> str | None:
        watched = a_visitor(page, at)
        rule = choose(listed, watched, is_returning=is_returning, is_online=is_online, now=later(at))
        return None if rule is None else rule.id

    assert chosen(0) == "new"
    assert chosen(0, is_returning=True) == "back"
    assert chosen(0, page="/cart") == "any"
    assert chosen(60) == "slow"
    assert chosen(60, is_online=False) is None


def test_nobody_is_invited_who_was_to_be_long_ago() -> None:
    watched = a_visitor(due=10)
    assert choose([a_rule()], watched, is_returning=False, is_online=True, now=later(610)) is not None
    assert choose([a_rule()], watched, is_returning=False, is_online=True, now=later(611)) is None


def test_a_later_page_starts_the_clock_anew_and_whoever_chats_is_not_watched() -> None:
    directory = a_directory(a_group("sales", "a01"), invitations=[a_rule(after_s=30)])
    work, known = some_work(directory), nothing_known()
    decide(work, known, an_event("visit.seen", "v1", page="/oven"), 0, NOON)
    decide(work, known, an_event("visit.seen", "v1", at=later(20), page="/cart"), 0, later(20))
    watched = work.watched["acme", "v1"]
    assert (watched.page, watched.seen_at, watched.due_at, watched.adapter) == ("/cart", later(20), later(50), "pbx")
    decide(work, known, an_event("chat.started", "v1", at=later(25)), 0, later(25))
    decide(work, known, an_event("visit.seen", "v1", at=later(30), page="/pay"), 0, later(30))
    assert work.watched["acme", "v1"].page == "/cart"
    assert work.chats_begun == {("acme", "v1")}


def test_a_clock_that_is_ahead_does_not_make_the_visitor_wait_for_it() -> None:
    work = some_work(a_directory(a_group("sales", "a01"), invitations=[a_rule(after_s=30)]))
    decide(work, nothing_known(), an_event("visit.seen", "v1", at=later(240), page="/oven"), 0, NOON)
    assert work.watched["acme", "v1"].due_at == later(30)


def test_without_rules_nobody_is_watched() -> None:
    work = some_work()
    decide(work, nothing_known(), an_event("visit.seen", "v1", page="/oven"), 0, NOON)
    assert not work.watched


def test_a_chat_after_an_agents_invitation_says_in_its_history_who_invited() -> None:
    work, known = some_work(), nothing_known()
    known.invited_by["acme", "v1"] = "a02"
    decide(work, known, an_event("chat.started", "v1"), 0, NOON)
    assert work.history[0].why == {"invited_by": "a02"}
