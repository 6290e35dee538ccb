"""What Asterisk's events mean, and what instructions become: rules, without a socket."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from kefu_adapters.calls import Calls, Terms, read_messages, ringing
from kefu_client import Event, Instruction
from tests.adapters.ami import scenes_of

BEGAN = 1_764_064_200.0
NOW = datetime.fromtimestamp(BEGAN, UTC)
CALL = "1764064200.33"


def some_calls(**terms: Any) -> Calls:
    return Calls(Terms("shop", frozenset({"from-outside"}), **terms))


def heard(calls: Calls, session: str, call: str = CALL) -> list[Event]:
    text = "\n\n".join(
        scene.removeprefix("originated").removeprefix("answered") for scene in scenes_of(session, BEGAN, call)
    )
    return [event for message in read_messages(iter(text.splitlines())) for event in calls.heard(message, NOW)]


def an_instruction(type: str, interaction: str = CALL, **data: Any) -> Instruction:
    return Instruction(str(uuid4()), type, "shop", interaction, NOW, NOW + timedelta(seconds=15), data)


def facts(events: list[Event]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(event["type"], event["data"] or {}) for event in events]


def test_a_call_that_is_answered_held_and_ended() -> None:
    # K-01, K-02
    events = heard(some_calls(agents={"8001": "a01"}), "answered.ami")
    assert facts(events) == [
        ("call.started", {"from": "13800138000", "to": "4001234567"}),
        ("call.answered", {"agent": "a01"}),
        ("call.held", {}),
        ("call.resumed", {}),
        (
            "call.ended",
            {"cause": "normal", "duration_s": 60.1, "recording": f"/var/spool/asterisk/monitor/{CALL}.wav"},
        ),
    ]
    assert events[0]["contact"] == {"phone": "13800138000", "name": "王芳"}
    assert [e["id"] for e in events] == [f"{CALL}.{n}" for n in range(1, 6)]
    assert {e["interaction"] for e in events} == {CALL}
    assert events[1]["occurred_at"] == (NOW + timedelta(seconds=6)).isoformat()


def test_the_same_session_makes_the_same_events() -> None:
    assert heard(some_calls(), "answered.ami") == heard(some_calls(), "answered.ami")


def test_a_caller_who_gives_up_and_a_call_within_the_house() -> None:
    events = heard(some_calls(), "abandoned.ami", "1764064300.41")
    assert facts(events) == [
        ("call.started", {"from": "anonymous", "to": "4001234567"}),
        ("call.ended", {"cause": "Interworking, unspecified", "duration_s": 10.0}),
    ]
    assert "contact" not in events[0]


def test_a_transfer_names_the_agent() -> None:
    calls = some_calls(agents={"8002": "a02"})
    for message in read_messages(iter(scenes_of("answered.ami", BEGAN, CALL)[0].splitlines())):
        calls.heard(message, NOW)
    moved = {"Event": "BlindTransfer", "TransfereeLinkedid": CALL, "Extension": "8002", "Result": "Success"}
    assert facts(calls.heard(moved, NOW)) == [("call.transferred", {"to": "a02"})]


def test_calls_that_ended_while_nobody_listened_are_lost() -> None:
    calls = some_calls()
    calls.heard({"Event": "Newchannel", "Uniqueid": "1", "Linkedid": "1", "Context": "from-outside"}, NOW)
    calls.heard({"Event": "Newchannel", "Uniqueid": "2", "Linkedid": "2", "Context": "from-outside"}, NOW)
    assert [(e["interaction"], e["data"]) for e in calls.missed(frozenset({"2"}), NOW)] == [
        ("1", {"cause": "lost", "duration_s": 0.0})
    ]
    assert set(calls.going) == {"2"}


def test_a_ring_becomes_an_originate_that_bridges_the_caller() -> None:
    calls = some_calls()
    heard_before = scenes_of("answered.ami", BEGAN, CALL)[0]
    for message in read_messages(iter(heard_before.splitlines())):
        calls.heard(message, NOW)
    ring = an_instruction("call.ring", agent="a01", phone="8001", offer="o-1", fence=1)
    assert calls.actions_for(ring, NOW) == [
        {
            "Action": "Originate",
            "ActionID": ring.id,
            "ChannelId": "kefu-o-1",
            "Channel": "PJSIP/8001",
            "Application": "Bridge",
            "Data": "PJSIP/trunk-00000021",
            "Timeout": "15000",
            "Async": "true",
        }
    ]
    cancel = an_instruction("call.cancel", agent="a01", offer="o-1", fence=1)
    assert calls.actions_for(cancel, NOW) == [{"Action": "Hangup", "Channel": ringing("o-1")}]
    response = {"Event": "OriginateResponse", "ActionID": ring.id, "Response": "Failure", "Reason": "5"}
    assert facts(calls.heard(response, NOW)) == [("instruction.failed", {"instruction": ring.id, "reason": "busy"})]
    assert calls.heard(response, NOW) == []


BEGINS = {"Event": "Newchannel", "Channel": "c", "Uniqueid": CALL, "Linkedid": CALL, "Context": "from-outside"}


def test_a_text_is_said_by_the_dial_plan_and_cannot_become_a_header() -> None:
    calls = some_calls(say_context="say")
    calls.heard(BEGINS, NOW)
    setvar, redirect = calls.actions_for(an_instruction("call.play", text="您好\r\nAction: Logoff"), NOW) or [{}, {}]
    assert setvar["Value"] == "您好 Action: Logoff"
    assert (redirect["Context"], redirect["Channel"]) == ("say", "c")


def test_a_caller_hears_a_text_to_the_end_before_the_call_is_ended() -> None:
    # O-05: routing says that nobody is there, and ends the call, in one breath
    calls = some_calls()
    calls.heard(BEGINS, NOW)
    calls.actions_for(an_instruction("call.play", text="现在无人值班"), NOW)
    hang_up = an_instruction("call.hang_up")
    [action] = calls.actions_for(hang_up, NOW) or [{}]
    assert (action["Action"], action["Variable"]) == ("Setvar", "KEFU_HANG_UP")
    calls.heard({"Event": "UserEvent", "UserEvent": "KefuSaid", "Uniqueid": CALL, "Linkedid": CALL}, NOW)
    [action] = calls.actions_for(hang_up, NOW) or [{}]
    assert (action["Action"], action["Channel"]) == ("Hangup", "c")


def test_what_cannot_be_done_is_no_action() -> None:
    assert some_calls().actions_for(an_instruction("call.hang_up"), NOW) is None
    assert some_calls().actions_for(an_instruction("call.somersault"), NOW) is None
