"""Which agent a strategy chooses, and whom the rules leave out (H-07 to H-09, D-09)."""

from datetime import timedelta
from typing import Any

import pytest

from kefu_common.events.directory import Capacity, Load
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain.assignment import RuledOut, assign
from tests.routing.builders import AFTER_SALE, NOON, SALES, a_candidate, a_waiting, later

CALL, CHAT, EMAIL = Channel.CALL, Channel.CHAT, Channel.EMAIL


def chosen(team: list[Any], channel: Channel = CHAT, **fields: Any) -> str | None:
    """Who is offered one ticket."""
    decisions = assign([a_waiting(channel, fields=fields)], {SALES: team}, NOON)
    return decisions[0].agent if decisions else None


def test_least_loaded_goes_by_idle_rate_then_by_what_is_in_hand_then_by_the_longest_idle() -> None:  # H-09
    half = a_candidate("a01", capacity=Capacity(chat=2), held={CHAT: 1}, freed_at=later(-900))
    third = a_candidate("a02", capacity=Capacity(chat=3), held={CHAT: 1}, freed_at=later(-10))
    assert chosen([half, third], strategy="least_loaded") == "a02"
    with_mail = a_candidate("a03", capacity=Capacity(chat=3), held={CHAT: 1, EMAIL: 1}, freed_at=later(-9000))
    assert chosen([with_mail, a_candidate("a04", held={CHAT: 1})], strategy="least_loaded") == "a04"
    late, early = a_candidate("a05", freed_at=later(-10)), a_candidate("a06", freed_at=later(-20))
    assert chosen([late, early], strategy="least_loaded") == "a06"


def test_least_loaded_goes_by_the_common_load_where_there_is_one() -> None:  # H-09
    loaded = a_candidate("a01", capacity=Capacity(chat=9), held={EMAIL: 2}, load=Load(most=4, email=1))
    free = a_candidate("a02", capacity=Capacity(chat=4), held={CHAT: 1})
    assert chosen([loaded, free], strategy="least_loaded") == "a02"


def test_longest_idle_is_whose_last_work_ended_first_of_those_with_nothing_in_hand() -> None:
    holding = a_candidate("a01", held={CHAT: 1}, freed_at=later(-9000))
    late, early = a_candidate("a02", freed_at=later(-10)), a_candidate("a03", freed_at=later(-20))
    assert chosen([holding, late, early], strategy="longest_idle") == "a03"
    assert chosen([holding], strategy="longest_idle") == "a01"


def test_skill_first_is_who_knows_best_and_nobody_who_knows_too_little_is_asked() -> None:
    some = a_candidate("a01", skills={"英语": 5})
    better = a_candidate("a02", skills={"英语": 8, "退款": 1}, held={CHAT: 2})
    none = a_candidate("a03")
    assert chosen([none, some, better], strategy="skill_first", skills={"英语": 3}) == "a02"
    assert chosen([none, some], strategy="round_robin", skills={"英语": 6}) is None
    (decision,) = assign([a_waiting(fields={"skills": {"英语": 3}})], {SALES: [none, some]}, NOON)
    assert decision.why["ruled_out"] == {"a03": RuledOut.LACKS_SKILL}
    assert decision.why["skills"] == {"英语": 3}


def test_who_is_on_a_call_gets_nothing_else_and_who_chats_may_get_a_call() -> None:  # D-09
    assert chosen([a_candidate("a01", held={CALL: 1})]) is None
    assert chosen([a_candidate("a01", held={CALL: 1})], EMAIL) is None
    assert chosen([a_candidate("a01", held={CHAT: 2})], CALL) == "a01"
    chats = [a_waiting(CALL, since=5), a_waiting(CHAT, since=0)]
    both = assign(chats, {SALES: [a_candidate("a01"), a_candidate("a02")]}, NOON)
    assert {d.agent for d in both} == {"a01", "a02"}


def test_chats_and_mails_weigh_together_no_more_than_the_load_says() -> None:  # D-09
    load = Load(most=10, chat=3, email=2)
    assert chosen([a_candidate("a01", held={CHAT: 2, EMAIL: 1}, load=load)], EMAIL) == "a01"
    assert chosen([a_candidate("a01", held={CHAT: 2, EMAIL: 1}, load=load)], CHAT) is None
    assert chosen([a_candidate("a01", held={CHAT: 2, EMAIL: 2}, load=load)], EMAIL) is None


def test_who_returns_goes_to_the_agent_who_served_them_last() -> None:  # H-07
    team = [a_candidate("a01"), a_candidate("a02", offers_today=9)]
    assert chosen(team, preferred="a02", preferred_until=later(30)) == "a02"
    (decision,) = assign([a_waiting(fields={"preferred": "a02"})], {SALES: team}, NOON)
    assert decision.why["preferred"] == "served_the_contact_last_or_invited_them"


@pytest.mark.parametrize(
    ("last", "waits"),
    [
        (a_candidate("a02", held={CHAT: 3}), True),
        (a_candidate("a02", held={CALL: 1}), True),
        (a_candidate("a02", state=PresenceState.BUSY), True),
        (a_candidate("a02", state=PresenceState.AFTER_CALL), True),
        (a_candidate("a02", state=PresenceState.AWAY), False),
        (a_candidate("a02", state=PresenceState.BREAK), False),
        (a_candidate("a02", state=None), False),
        (a_candidate("a02", held={CHAT: 1}, is_leaving=True), False),
        (a_candidate("a02", capacity=Capacity(chat=0)), False),
        (a_candidate("b01"), False),
    ],
)
def test_who_returns_waits_for_a_busy_agent_for_a_while_and_for_an_absent_one_not_at_all(
    last: Any, waits: bool
) -> None:  # H-07
    team = [a_candidate("a01"), last]
    fields = {"preferred": "a02", "preferred_until": later(30)}
    assert (assign([a_waiting(fields=fields)], {SALES: team}, later(29)) == []) is waits
    (decision,) = assign([a_waiting(fields=fields)], {SALES: team}, later(30))
    assert decision.agent in ("a01", "b01")


def test_nobody_waits_for_an_agent_who_declined_it() -> None:  # H-07
    team = [a_candidate("a01"), a_candidate("a02", held={CHAT: 3})]
    fields = {"preferred": "a02", "preferred_until": later(30)}
    (decision,) = assign([a_waiting(fields=fields, a02=NOON)], {SALES: team}, later(1))
    assert decision.agent == "a01"


def test_who_leaves_after_what_is_in_hand_gets_nothing_new() -> None:
    team = [a_candidate("a01", is_leaving=True), a_candidate("a02", offers_today=5)]
    (decision,) = assign([a_waiting()], {SALES: team}, NOON)
    assert (decision.agent, decision.why["ruled_out"]) == ("a02", {"a01": RuledOut.LEAVING})


def test_a_ticket_that_overflowed_goes_to_the_best_of_all_its_groups() -> None:
    ours = [a_candidate("a01", offers_today=3)]
    theirs = [a_candidate("b01", offers_today=1), a_candidate("b02", offers_today=2)]
    wider = a_waiting(fields={"wider": (AFTER_SALE,)})
    narrow = a_waiting(since=1)
    decisions = assign([wider, narrow], {SALES: ours, AFTER_SALE: theirs}, NOON)
    assert {d.ticket: d.agent for d in decisions} == {wider.ticket: "b01", narrow.ticket: "a01"}


def test_what_has_waited_half_a_day_longer_goes_before_a_chat() -> None:
    one = a_candidate("a01", load=Load(most=1))
    chat, mail = a_waiting(CHAT), a_waiting(EMAIL, since=-13 * 3600)
    assert [d.ticket for d in assign([chat, mail], {SALES: [one]}, NOON)] == [mail.ticket]
    one = a_candidate("a01", load=Load(most=1))
    younger = a_waiting(EMAIL, since=timedelta(hours=-11).total_seconds())
    assert [d.ticket for d in assign([chat, younger], {SALES: [one]}, NOON)] == [chat.ticket]
