"""Counting as a rule: any order, repetition and batch split of the same events gives the same sums."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.words import Channel
from kefu_reporting.domain.counting import NoPlaceInLog, TicketEvent, UnknownTimeZone, count
from kefu_reporting.domain.daily import NOTHING, Figures, Sums, figures, is_open, rows, total
from tests.reporting.builders import OPENED_AT, TicketStory, a_ticket, at, counted_in

STEPS = ["opened", "message_received", "queued", "offered", "assigned", "first", "replied", "transferred"]
STEPS += ["resolved", "abandoned", "refused", "becomes"]


def figures_of(*stories: TicketStory) -> Figures:
    return figures(total(counted_in([[event for story in stories for event in story.events]]).values()))


def tell(story: TicketStory, step: str, when: datetime, agent: str, seconds: float) -> None:
    match step:
        case "opened":
            story.opened(when)
        case "message_received":
            story.message_received(when)
        case "queued":
            story.queued(when)
        case "offered":
            story.offered(when, agent)
        case "assigned":
            story.assigned(when, agent, seconds, first=False)
        case "first":
            story.assigned(when, agent, seconds, first=True)
        case "replied":
            story.replied(when, agent, seconds)
        case "transferred":
            story.transferred(when, agent, "after-sale")
        case "resolved":
            story.resolved(when, agent, seconds)
        case "abandoned":
            story.abandoned(when)
        case "refused":
            story.refused(when)
        case "becomes":
            story.becomes(group="after-sale", category=None, kind="complaint")


@st.composite
def stories(draw: st.DrawFn) -> TicketStory:
    zone = draw(st.sampled_from(["Asia/Shanghai", "America/New_York", "UTC", "Pacific/Chatham"]))
    number = draw(st.integers(1, 3))
    account = draw(st.sampled_from(["acme", "bolt"]))
    channel = draw(st.sampled_from(list(Channel)))
    story = a_ticket(account, UUID(int=number), time_zone=zone, channel=channel)
    moment = OPENED_AT
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=12)):
        moment += timedelta(minutes=draw(st.integers(0, 900)))
        seconds = draw(st.floats(0, 100_000))
        tell(story, step, moment, draw(st.sampled_from(["a01", "a02"])), seconds)
    return story


def distinct(found: list[TicketStory]) -> list[TicketEvent]:
    """The events of the last story per (account, ticket): one ticket has one history."""
    by_ticket = {(story.account, story.ticket): story for story in found}
    return [event for story in by_ticket.values() for event in story.events]


@given(st.lists(stories(), max_size=5), st.data())
def test_any_order_repetition_and_split_gives_the_same_sums(found: list[TicketStory], data: st.DataObject) -> None:
    events = distinct(found)
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=20)) if events else []
    shuffled = data.draw(st.permutations(events + repeats))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=6)))
    batches = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]

    assert counted_in(batches) == counted_in([events])


@given(st.lists(stories(), max_size=5))
def test_the_sums_are_those_of_a_plain_count_in_order(found: list[TicketStory]) -> None:
    events = distinct(found)
    opened: set[tuple[str, str]] = set()
    offered: set[tuple[str, str]] = set()
    answered: dict[tuple[str, str], int] = {}
    resolved: dict[tuple[str, str], int] = {}
    messages = 0
    for event in sorted(events, key=lambda e: e.sequence or 0):
        ticket = (event.account, event.subject)
        match event.type.removeprefix("kefu.ticket."):
            case "opened":
                opened.add(ticket)
            case "offered":
                offered.add(ticket)
            case "assigned" if event.data.first:  # type: ignore[attr-defined]
                answered.setdefault(ticket, round(event.data.wait_s * 1000))  # type: ignore[attr-defined]
            case "resolved":
                resolved[ticket] = round(event.data.handling_s * 1000)  # type: ignore[attr-defined]
            case "message_received" if event.data.channel == "message":
                messages += 1

    sums = total(counted_in([[event] for event in reversed(events)]).values())

    assert (sums.opened, sums.offered, sums.messages_left) == (len(opened), len(offered), messages)
    assert (sums.answered, sums.wait_ms) == (len(answered), sum(answered.values()))
    assert (sums.resolved, sums.handling_ms) == (len(resolved), sum(resolved.values()))


def test_a_ticket_counts_each_measure_once_with_its_means() -> None:
    story = a_ticket().opened(at(1)).queued(at(1)).offered(at(1), "a01").offered(at(1, 1), "a02")
    story.assigned(at(1, 2), "a02", wait_s=120.0).replied(at(1, 3), "a02", 180.25).replied(at(1, 4), "a02")
    story.resolved(at(2), "a02", handling_s=3480)
    lost = a_ticket().opened(at(1)).offered(at(1), "a01").abandoned(at(2))
    other = a_ticket().opened(at(3)).offered(at(3), "a01").assigned(at(3), "a01", wait_s=1)

    assert figures_of(story, lost, other) == Figures(3, 3, 2, 1, 0, 1, 0, 1, 60.5, 180.25, 3480.0)


def test_a_mean_over_nothing_is_none() -> None:
    assert figures_of(a_ticket().opened(at(1)).refused(at(1))) == Figures(1, 0, 0, 0, 1, 0, 0, 0, None, None, None)


def test_means_are_rounded_to_milliseconds() -> None:
    answered = [a_ticket().assigned(at(1), "a01", wait_s=s) for s in (1, 1, 2)]

    assert figures_of(*answered).wait_s == 1.333


def test_the_day_is_the_sites_where_it_happened() -> None:
    before, after = at(15, 59), at(16, 0)
    story = a_ticket().opened(before).offered(after, "a01")

    assert {cell.day: sums for cell, sums in counted_in([story.events]).items()} == {
        date(2026, 11, 23): Sums(opened=1),
        date(2026, 11, 24): Sums(offered=1),
    }


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        # New York's days of 2026 begin at 04:00 UTC in summer and at 05:00 in winter; on 1 November, 25 h long, both.
        (datetime(2026, 11, 1, 3, 59, tzinfo=UTC), date(2026, 10, 31)),
        (datetime(2026, 11, 1, 4, 0, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 2, 4, 59, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 2, 5, 0, tzinfo=UTC), date(2026, 11, 2)),
        # 8 March is 23 h long.
        (datetime(2026, 3, 8, 4, 59, tzinfo=UTC), date(2026, 3, 7)),
        (datetime(2026, 3, 9, 3, 59, tzinfo=UTC), date(2026, 3, 8)),
        (datetime(2026, 3, 9, 4, 0, tzinfo=UTC), date(2026, 3, 9)),
    ],
)
def test_a_day_may_have_23_or_25_hours(moment: datetime, day: date) -> None:
    (cell,) = counted_in([a_ticket(time_zone="America/New_York").opened(moment).events])

    assert cell.day == day


def test_a_transferred_ticket_counts_for_the_group_of_each_moment() -> None:
    story = a_ticket().opened(at(1)).offered(at(1), "a01").assigned(at(1), "a01", wait_s=3)
    story.transferred(at(2), "a01", "after-sale").becomes(group="after-sale")
    story.offered(at(2), "a05").assigned(at(2), "a05", wait_s=3600, first=False).resolved(at(3), "a05", 60)
    by_group: dict[str, Sums] = {}
    for cell, sums in counted_in([story.events]).items():
        by_group[cell.group] = by_group.get(cell.group, NOTHING).plus(sums)

    assert by_group == {
        "pre-sale": Sums(opened=1, offered=1, answered=1, wait_ms=3000),
        "after-sale": Sums(resolved=1, handling_ms=60_000),
    }


def test_a_later_resolving_takes_the_place_of_the_earlier() -> None:
    story = a_ticket().resolved(at(1), "a01", 60).resolved(at(1, day=24), "a02", 90)
    (cell, sums), *rest = counted_in([[event] for event in story.events]).items()

    assert (cell.day, cell.agent, sums, rest) == (date(2026, 11, 24), "a02", Sums(resolved=1, handling_ms=90_000), [])


def test_each_message_left_counts_and_a_chat_message_does_not() -> None:
    left = a_ticket(channel=Channel.MESSAGE).message_received(at(1)).message_received(at(2))
    chat = a_ticket(channel=Channel.CHAT).message_received(at(1))

    assert figures_of(left, chat).messages_left == 2


def test_only_what_an_agent_did_counts_under_an_agent() -> None:
    story = a_ticket().opened(at(1)).offered(at(1), "a01").assigned(at(1), "a02", 1).replied(at(1), "a03", 2)
    story.resolved(at(1), "a04", 3)
    agents = {cell.agent: sums for cell, sums in counted_in([story.events]).items()}

    assert {agent: sums[:8] for agent, sums in agents.items()} == {
        "": Sums(opened=1)[:8],
        "a01": Sums(offered=1)[:8],
        "a02": Sums(answered=1)[:8],
        "a03": Sums(first_replies=1)[:8],
        "a04": Sums(resolved=1)[:8],
    }


def test_rows_are_sorted_and_none_comes_first() -> None:
    found = rows({"b": Sums(opened=1), "": Sums(opened=2), "a": Sums(opened=3)})

    assert [(value, line.opened) for value, line in found] == [(None, 2), ("a", 3), ("b", 1)]


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("Asia/Shanghai", at(15, 59), True),
        ("Asia/Shanghai", at(16), False),
        ("America/New_York", at(4, 59, day=24), True),
        ("America/New_York", at(5, day=24), False),
    ],
)
def test_a_day_is_open_until_it_has_ended_there(zone: str, now: datetime, expected: bool) -> None:
    assert is_open(date(2026, 11, 23), zone, now) is expected


def test_an_event_without_a_place_in_its_tickets_log_is_refused() -> None:
    (event,) = a_ticket().opened(at(1)).events

    with pytest.raises(NoPlaceInLog):
        count(replace(event, sequence=None))
    with pytest.raises(NoPlaceInLog):
        count(replace(event, subject="call-7"))


@pytest.mark.parametrize("zone", ["Asia/Nowhere", "Asia", "", "/etc/localtime"])
def test_an_unknown_time_zone_is_no_day(zone: str) -> None:
    (event,) = a_ticket(time_zone=zone).opened(at(1)).events

    with pytest.raises(UnknownTimeZone):
        count(event)
