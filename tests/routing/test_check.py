"""Why an agent receives nothing, told in words that a supervisor understands (D-10)."""

from typing import Any

import pytest

from kefu_common.events.directory import Agent, Calendar, Capacity, Category, Load, Overflow
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain.check import Check, Situation, Waits, check
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.texts import REFUSALS
from tests.routing.builders import NOON, a_directory, a_group

CHAT, CALL, EMAIL = Channel.CHAT, Channel.CALL, Channel.EMAIL


def a_chat(category: str | None = None, group: str = "sales") -> Waits:
    return Waits(group, CHAT, category, takes_capacity=True)


def of(directory: AccountDirectory | None = None, agent: str = "a01", **fields: Any) -> Check:
    given: dict[str, Any] = {"state": PresenceState.AVAILABLE, "reason": None, "held": {}, "waiting": [a_chat()]}
    found = directory or a_directory(a_group("sales", "a01", "a02"))
    return check(Situation(found, agent, **(given | fields)), NOON)


def rules_of(found: Check) -> list[str]:
    return [finding.rule for finding in found.findings]


def with_agent(**fields: Any) -> AccountDirectory:
    directory = a_directory(a_group("sales", "a01", "a02"))
    directory.agents["a01"] = Agent(id="a01", name="a01", **fields)
    return directory


def test_who_is_there_and_for_whom_something_waits_receives_it() -> None:
    assert of() == Check(True, [])


def test_an_empty_queue_is_a_reason_though_nothing_is_wrong() -> None:
    found = of(waiting=[])
    assert (found.receives, rules_of(found)) == (True, ["nothing_waits"])


@pytest.mark.parametrize(
    ("state", "reason", "rule"),
    [
        (None, None, "signed_out"),
        (PresenceState.AWAY, "lease", "client_vanished"),
        (PresenceState.AWAY, "missed", "missed_offer"),
        (PresenceState.AWAY, "开会", "not_available"),
        (PresenceState.BREAK, None, "not_available"),
    ],
)
def test_who_is_not_there_receives_nothing(state: PresenceState | None, reason: str | None, rule: str) -> None:
    found = of(state=state, reason=reason)
    assert (found.receives, rules_of(found)) == (False, [rule])
    assert found.findings[0].path == "agents/a01/presence"
    # the words of the refusal that a command of theirs gets
    assert found.findings[0].en.startswith("agent a01 is not available: ")


def test_who_belongs_to_no_group_receives_nothing() -> None:
    directory = a_directory(a_group("sales", "a01"))
    directory.agents["a09"] = Agent(id="a09", name="新人")
    found = of(directory, "a09", waiting=[])
    assert (found.receives, rules_of(found)) == (False, ["no_group"])


def test_a_group_whose_leader_is_gone_is_named() -> None:
    directory = a_directory(a_group("sales", "a02", "a01"))
    del directory.agents["a02"]
    (finding,) = of(directory).findings
    assert (finding.rule, finding.path) == ("no_leader", "groups/sales/leader")


@pytest.mark.parametrize(("ticks", "rule"), [({"sources": []}, "source"), ({"tiers": []}, "tier")])
def test_a_group_with_nothing_ticked_is_named_with_the_words_of_the_refusal(ticks: Any, rule: str) -> None:
    found = of(a_directory(a_group("sales", "a01", **ticks)), waiting=[])
    assert (found.receives, rules_of(found)) == (False, [rule, "nothing_waits"])
    chinese, english = REFUSALS[rule]
    assert chinese in found.findings[0].zh
    assert english in found.findings[0].en


def test_one_group_that_serves_somebody_is_enough() -> None:
    found = of(a_directory(a_group("sales", "a01", sources=[]), a_group("after-sale", "a01")), waiting=[])
    assert (found.receives, rules_of(found)) == (True, ["source", "nothing_waits"])


def test_a_group_in_no_plan_receives_nothing() -> None:
    directory = a_directory(a_group("sales", "a01"))
    directory.groups["spare"] = a_group("spare", "a09")
    directory.agents["a09"] = Agent(id="a09", name="a09")
    found = of(directory, "a09", waiting=[])
    assert (found.receives, rules_of(found)) == (False, ["no_plan", "nothing_waits"])


def test_a_group_that_gets_only_what_overflows_is_in_a_plan() -> None:
    """Guards the overflow in `admission.reaches`."""
    directory = a_directory(a_group("sales", "a01"), overflow=[Overflow(after_s=60, widen_to=["spare"])])
    directory.groups["spare"] = a_group("spare", "a09", categories=[])
    directory.agents["a09"] = Agent(id="a09", name="a09")
    found = of(directory, "a09", waiting=[])
    assert (found.receives, rules_of(found)) == (True, ["nothing_waits"])


def test_a_group_without_categories_behind_one_that_serves_everybody_receives_nothing() -> None:
    spare = a_group("spare", "a09", categories=[])
    found = of(a_directory(a_group("sales", "a01"), spare), "a09", waiting=[])
    assert (found.receives, rules_of(found)) == (False, ["no_category", "nothing_waits"])
    assert "all else goes to sales" in found.findings[0].en
    picky = a_directory(a_group("sales", "a01", sources=["app"]), spare)
    assert of(picky, "a09", waiting=[]).receives


def test_a_plan_whose_site_is_gone_is_named() -> None:
    directory = a_directory(a_group("sales", "a01"))
    directory.sites.clear()
    assert rules_of(of(directory, waiting=[])) == ["no_site", "nothing_waits"]


def test_a_closed_site_is_named_with_when_it_opens_in_its_own_time() -> None:
    window = {"days": [2], "start": "09:00", "end": "18:00"}
    hours = Calendar.model_validate({"id": "office", "name": "办公", "weekly": [window]})
    found = of(a_directory(a_group("sales", "a01"), calendar=hours), waiting=[])
    assert (found.receives, rules_of(found)) == (False, ["closed", "nothing_waits"])
    assert found.findings[0].path == "calendars/office"
    assert "2026-11-24 09:00 (Asia/Shanghai)" in found.findings[0].en
    two = [a_group("sales", "a01"), a_group("after-sale", "a01")]
    assert rules_of(of(a_directory(*two, calendar=hours), waiting=[])) == ["closed", "nothing_waits"]
    never = Calendar(id="office", name="办公")
    assert rules_of(of(a_directory(a_group("sales", "a01"), calendar=never)))[0] == "never_opens"


def test_a_capacity_of_0_is_named_for_each_channel() -> None:
    directory = with_agent(capacity=Capacity(call=0, chat=0))
    found = of(directory)
    assert (found.receives, [f.path for f in found.findings]) == (
        False,
        ["agents/a01/capacity/call", "agents/a01/capacity/chat"],
    )
    assert of(directory, waiting=[Waits("sales", EMAIL, None, takes_capacity=True)]).receives


def test_who_holds_as_much_as_they_may_is_told_how_much() -> None:
    found = of(held={CHAT: 3, Channel.EMAIL: 2, Channel.MESSAGE: 3})
    assert not found.receives
    assert [(f.rule, f.en) for f in found.findings] == [
        ("at_capacity", "agent a01 has no room for another chat: 3 of 3 held"),
        ("at_capacity", "agent a01 has no room for another email: 5 of 5 held"),
    ]


def test_a_call_and_the_common_load_are_named() -> None:
    found = of(with_agent(capacity=Capacity(call=2), load=Load(most=4, chat=2, email=3)), held={CALL: 1, CHAT: 2})
    assert rules_of(found) == ["on_a_call", "at_load"]


def test_what_remains_of_a_chat_needs_no_room() -> None:
    assert of(held={CHAT: 3}, waiting=[Waits("sales", CHAT, None, takes_capacity=False)]).receives


def test_a_skill_that_everything_waiting_needs_and_the_agent_lacks_is_named() -> None:
    directory = with_agent(skills={"english": 2})
    for id, skills in (("export", {"english": 5}), ("import", {"english": 3, "tax": 1})):
        directory.categories[id] = Category(id=id, name=id, skills=skills)
    directory.groups["sales"] = a_group("sales", "a01", categories=["export", "import"])
    found = of(directory, waiting=[a_chat("export"), a_chat("import")])
    assert (found.receives, rules_of(found)) == (False, ["lacks_skill"])
    assert found.findings[0].path == "agents/a01/skills/english"
    assert "level 3 or more; agent a01 has 2" in found.findings[0].en
    assert of(directory, waiting=[a_chat("export"), a_chat()]).receives


def test_what_goes_by_the_agent_is_named_and_hides_no_lack_of_skill() -> None:
    """Fails without `_goes_by` in `_takes_something` and in `_of_queue`."""
    passed = Waits("sales", CHAT, None, True, is_passed=True)
    preferring = Waits("sales", CHAT, None, True, waits_for="a02")
    assert (of(waiting=[passed]).receives, rules_of(of(waiting=[passed]))) == (False, ["passed"])
    assert (of(waiting=[preferring]).receives, rules_of(of(waiting=[preferring]))) == (False, ["preference"])
    assert of(waiting=[passed, preferring, a_chat()]) == Check(True, [])
    directory = with_agent(skills={"英语": 1})
    directory.categories["vip"] = Category(id="vip", name="贵宾", skills={"英语": 3})
    found = of(directory, waiting=[passed, a_chat("vip")])
    assert (found.receives, {"passed", "lacks_skill"} - set(rules_of(found))) == (False, set())


def test_a_category_that_no_group_receives_is_named() -> None:
    directory = a_directory(a_group("sales", "a01"))
    directory.categories["returns"] = Category(id="returns", name="退货")
    found = of(directory)
    assert (found.receives, [f.path for f in found.findings]) == (True, ["categories/returns"])


def test_every_finding_speaks_both_languages() -> None:
    directory = with_agent(capacity=Capacity(call=0), load=Load(most=1))
    directory.groups["sales"] = a_group("sales", "a09", "a01", sources=[], tiers=[])
    directory.categories["returns"] = Category(id="returns", name="退货", skills={"tax": 1})
    found = of(directory, state=None, held={CHAT: 3}, waiting=[a_chat("returns")])
    assert len(found.findings) == 9
    assert all(any("\u4e00" <= c <= "\u9fff" for c in f.zh) for f in found.findings)
    assert all(f.en.isascii() or "“" in f.en for f in found.findings)
