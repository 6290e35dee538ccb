"""What visitors are told without an agent: the plan's texts, each once (D-01, D-02, D-08, O-05, B-15)."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.directory import Calendar, NamedDay, Texts, Window
from kefu_common.events.outbound import CallPlay, ChatRefused, ChatSay
from kefu_common.events.words import Channel
from kefu_routing.domain import offers, queue
from kefu_routing.domain import ticket as rules
from kefu_routing.domain.holding import take
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import OfferStatus
from kefu_routing.domain.queue import Place, Told
from kefu_routing.domain.texts import CALL_AGAIN, LEAVE_A_MESSAGE, POSITION, REFUSALS, filled
from kefu_routing.domain.work import Work
from kefu_routing.handlers.queue_news import tell
from tests.routing.builders import (
    NOON,
    a_directory,
    a_group,
    an_event,
    instructions_of,
    later,
    nothing_known,
    some_work,
    the_ticket,
)

ALWAYS = Window.model_validate({"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"})


def a_shop(texts: dict[str, Any], **calendar: Any) -> Work:
    hours = Calendar.model_validate(
        {"id": "hours", "name": "营业时间", "weekly": [ALWAYS], "open_on_holidays": True, **calendar}
    )
    return some_work(a_directory(a_group("sales", "a01", "a02"), calendar=hours, texts=Texts(**texts)))


def said_in(work: Work) -> list[str]:
    return [i.event.data.text for i in work.instructions if isinstance(i.event.data, ChatSay | CallPlay)]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("chat", ["您好", "国庆快乐"]),
        ("call", ["您好 国庆快乐"]),  # in one breath: a second text might cut off the first
    ],
)
def test_on_a_festival_the_greeting_follows_the_welcome(channel: str, expected: list[str]) -> None:
    work = a_shop(
        {"welcome": "您好", "festivals": {"国庆节": "国庆快乐", "春节": "新春快乐"}},
        holidays=[NamedDay(date=date(2026, 11, 23), name="国庆节")],
    )
    decide(work, nothing_known(), an_event(f"{channel}.started"), 0, NOON)
    assert said_in(work) == expected
    assert the_ticket(work).said == ["welcome", "festival"]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (later(12 * 3600 - 1), []),  # a second before midnight in Shanghai, where it is still the 23rd
        (later(12 * 3600), ["新春快乐"]),
    ],
)
def test_the_day_of_a_festival_is_the_sites_own(now: Any, expected: list[str]) -> None:
    work = a_shop({"festivals": {"春节": "新春快乐"}}, holidays=[NamedDay(date=date(2026, 11, 24), name="春节")])
    decide(work, nothing_known(), an_event("chat.started", at=now), 0, now)
    assert said_in(work) == expected


def test_of_two_festivals_on_a_day_the_one_with_a_greeting_is_greeted_and_others_not_at_all() -> None:
    both = [NamedDay(date=date(2026, 11, 23), name=name) for name in ("中秋节", "国庆节")]
    work = a_shop({"festivals": {"国庆节": "国庆快乐"}}, holidays=both)
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    assert said_in(work) == ["国庆快乐"]
    work = a_shop({"welcome": "您好"}, holidays=both)
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    assert said_in(work) == ["您好"]


def test_each_text_is_said_once_through_lapses_and_transfers() -> None:
    work, known = a_shop({"welcome": "您好", "waiting": "第{position}位", "closing": "再见"}), nothing_known()
    decide(work, known, an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    first, second = Place(ticket.id, "sales", 2), Place(ticket.id, "sales", 1)
    told = {ticket.id: tell(work, ticket, first, None, {}, later(2))}
    made = offers.offer(work, ticket, "a01", later(3), {})
    offers.give_back(work, ticket, made, OfferStatus.LAPSED, later(33))
    tell(work, ticket, second, 60.0, told, later(34))
    tell(work, ticket, second, 60.0, {}, later(35))  # what was told last is forgotten, what was said is not
    rules.claim(work, ticket, "a01", later(40))
    rules.transfer_to_group(work, ticket, "a01", "sales", "", later(50))
    rules.claim(work, ticket, "a02", later(60))
    rules.resolve(work, ticket, "a02", "", None, later(70))
    assert said_in(work) == ["您好", "第2位", "再见"]
    assert ticket.said == ["welcome", "waiting", "closing"]
    assert instructions_of(work).count("chat.position") == 3


def test_a_caller_hears_the_waiting_text_again_only_when_it_says_something_new() -> None:
    work, known = a_shop({"waiting": "您是第{position}位，约{minutes}分钟"}), nothing_known()
    decide(work, known, an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    told = tell(work, ticket, Place(ticket.id, "sales", 3), 200.0, {}, later(2))
    told = tell(work, ticket, Place(ticket.id, "sales", 2), 100.0, {ticket.id: told}, later(40))
    tell(work, ticket, Place(ticket.id, "after-sale", 2), 100.0, {ticket.id: told}, later(80))
    assert said_in(work) == ["您是第3位，约4分钟", "您是第2位，约2分钟"]


def test_news_is_told_the_first_time_and_then_when_the_place_changed_but_not_too_often() -> None:
    work = a_shop({})
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    place, moved = Place(ticket.id, "sales", 2), Place(ticket.id, "sales", 1)
    told = Told(place, None, NOON)
    chat, call = Channel.CHAT, Channel.CALL
    assert queue.is_news(place, chat, None, NOON)
    assert not queue.is_news(place, chat, told, later(600))
    assert not queue.is_news(moved, chat, told, later(4))
    assert queue.is_news(moved, chat, told, later(5))
    assert not queue.is_news(moved, call, told, later(29))
    assert queue.is_news(moved, call, told, later(30))


@pytest.mark.parametrize(
    ("position", "answers", "expected"),
    [(1, 15, 60.0), (4, 15, 240.0), (2, 3, 600.0), (1, 2, None), (1, 0, None)],
)
def test_the_wait_is_estimated_from_the_pace_of_answers(position: int, answers: int, expected: float | None) -> None:
    assert queue.estimate_wait_s(position, answers, 900) == expected


@pytest.mark.parametrize(
    ("text", "wait_s", "expected"),
    [
        ("第{position}位，约{minutes}分钟", 61, "第7位，约2分钟"),
        ("第{position}位，约{minutes}分钟", None, "第7位，约几分钟"),
        ("you are number {position}, {minutes} min", None, "you are number 7, a few min"),
        ("{minutes}", 0, "1"),
        ("{name} {} {{position}} {0} {position!r} %s", 1, "{name} {} {7} {0} {position!r} %s"),
    ],
)
def test_placeholders_are_filled_and_other_braces_left_alone(text: str, wait_s: float | None, expected: str) -> None:
    assert filled(text, 7, wait_s) == expected


@given(st.text(), st.integers(1, 99), st.none() | st.floats(0, 1e6))
def test_no_text_breaks_the_filling(text: str, position: int, wait_s: float | None) -> None:
    done = filled(text, position, wait_s)
    assert "{position}" not in text or str(position) in done


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"offline": "请留言", "after_hours": "现在下班了"}, "现在下班了"),
        ({"offline": "请留言"}, "请留言"),
        ({}, None),
    ],
)
def test_a_closed_site_says_its_own_text_or_the_offline_one(texts: dict[str, str], expected: str | None) -> None:
    work = a_shop(texts, weekly=[])
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    (refused,) = [i.event.data for i in work.instructions]
    assert isinstance(refused, ChatRefused)
    assert (refused.reason, refused.text) == ("closed", expected)


def test_whoever_waited_too_long_is_told_the_offline_text_and_not_that_the_site_is_closed() -> None:
    work = a_shop({"offline": "请留言", "after_hours": "现在下班了"})
    decide(work, nothing_known(), an_event("chat.started"), 0, NOON)
    ticket = the_ticket(work)
    rules.abandon(work, ticket, None, "max_wait", later(60))
    refused = work.instructions[-1].event.data
    assert isinstance(refused, ChatRefused)
    assert (refused.reason, refused.text) == ("max_wait", "请留言")
    assert ticket.said == ["offline"]


@pytest.mark.parametrize(("region", "language"), [("CN", 0), ("DE", 1)])
def test_whoever_waits_is_not_left_with_silence_where_the_plan_has_no_texts(region: str, language: int) -> None:
    """O-05. Fails without `LEAVE_A_MESSAGE` or `CALL_AGAIN` in `turning_away`, or `POSITION` in `waiting`."""
    work = a_shop({})
    sites = work.directories["acme"].sites
    sites["shop"] = sites["shop"].model_copy(update={"region": region})
    decide(work, nothing_known(), an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    tell(work, ticket, Place(ticket.id, "sales", 2), 100.0, {}, later(10))
    rules.abandon(work, ticket, None, "max_wait", later(60))
    assert said_in(work) == [filled(POSITION[language], 2, 100.0), CALL_AGAIN[language]]
    assert instructions_of(work) == ["call.play", "call.play", "call.hang_up"]
    chatting = some_work(work.directories["acme"])
    decide(chatting, nothing_known(), an_event("chat.started"), 0, NOON)
    rules.abandon(chatting, the_ticket(chatting), None, "max_wait", later(60))
    refused = chatting.instructions[-1].event.data
    assert isinstance(refused, ChatRefused)
    assert refused.text == LEAVE_A_MESSAGE[language]


def test_a_caller_hears_the_closing_text_before_an_agent_ends_the_call() -> None:
    work = a_shop({"closing": "再见"})
    decide(work, nothing_known(), an_event("call.started"), 0, NOON)
    ticket = the_ticket(work)
    take(work, ticket, "a01", later(5), by="answered")
    rules.resolve(work, ticket, "a01", "", None, later(70))
    assert (said_in(work), instructions_of(work)) == (["再见"], ["call.play", "call.hang_up"])


@pytest.mark.parametrize(("region", "language"), [("CN", 0), ("DE", 1)])
def test_who_consults_from_an_unticked_source_hears_so_and_is_not_asked_to_leave_a_message(
    region: str, language: int
) -> None:
    directory = a_directory(a_group("sales", "a01", sources=["hotline"]), texts=Texts(offline="请留言"))
    directory.sites["shop"] = directory.sites["shop"].model_copy(update={"region": region})
    work = some_work(directory)
    decide(work, nothing_known(), an_event("chat.started", source="app"), 0, NOON)
    (refused,) = [i.event.data for i in work.instructions]
    assert isinstance(refused, ChatRefused)
    assert (refused.reason, refused.text) == ("source", REFUSALS["source"][language])


def test_a_caller_from_an_unticked_source_hears_so_and_is_hung_up() -> None:
    work = some_work(a_directory(a_group("sales", "a01", sources=[])))
    decide(work, nothing_known(), an_event("call.started", source="app"), 0, NOON)
    assert said_in(work) == [REFUSALS["source"][0]]
    assert instructions_of(work) == ["call.play", "call.hang_up"]
