"""The rules of notifications, without anything around them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.events.messages import ContactAddress, MessageWanted
from kefu_common.events.words import Channel, Medium, Occasion
from kefu_common.ids import new_id
from kefu_notifications.domain.credit import affordable
from kefu_notifications.domain.feed import Sequenced, in_order, on_one_line
from kefu_notifications.domain.planning import Reason, Recipients, State, is_address, plan
from kefu_notifications.domain.segments import cut, segments, utf16_units
from kefu_notifications.domain.sending import Outcome, Result, after, http_result, smtp_result, wait_s
from kefu_notifications.domain.texts import Wording, sign, signature_of, word
from kefu_notifications.handlers.email import compose
from kefu_notifications.handlers.provider import Letter

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
TICKET = UUID("0193579a-0000-7000-8000-000000000001")


def an_offline(text: str = "烤箱坏了", **more: str | None) -> MessageWanted:
    fields: dict[str, str | None] = {"name": "王芳", "reachable": "13800138000", **more}
    return MessageWanted(
        occasion=Occasion.OFFLINE_MESSAGE,
        ticket=TICKET,
        contact=new_id(),
        channel=Channel.MESSAGE,
        roles=["administrator"],
        text=text,
        name=fields["name"],
        reachable=fields["reachable"],
    )


def a_reply(email: str | None = None, phone: str | None = None, subject: str | None = None) -> MessageWanted:
    return MessageWanted(
        occasion=Occasion.REPLY,
        ticket=TICKET,
        contact=new_id(),
        channel=Channel.EMAIL,
        to=ContactAddress(email=email, phone=phone),
        text="明天上门",
        subject=subject,
    )


# Segments (3GPP TS 23.038)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # the pair would straddle the first part's end
        ("中" * 70, 1),
        ("中" * 71, 2),
        ("中" * 134, 2),
        ("中" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),  # 33 pairs in a part of 67 units
    ],
)
def test_segments_are_counted_as_providers_do(text: str, expected: int) -> None:
    assert segments(text) == expected


@given(st.text(max_size=400), st.text(max_size=50))
def test_a_longer_text_never_takes_fewer_segments(text: str, more: str) -> None:
    assert 1 <= segments(text) <= segments(text + more)


@given(st.text(), st.integers(min_value=1, max_value=100))
def test_a_cut_text_fits(text: str, units: int) -> None:
    assert utf16_units(cut(text, units)) <= units
    assert cut(text, units) == text or cut(text, units).endswith("…")


# Texts (O-03, O-04, O-06)


def test_an_sms_begins_with_the_signature_and_names_whom_to_ring() -> None:
    said = sign(word(an_offline(), Medium.SMS), Occasion.OFFLINE_MESSAGE, Medium.SMS, "小店")
    assert said == Wording(None, "【小店】王芳 留言：烤箱坏了 回电 13800138000")


@given(st.text(), st.text() | st.none(), st.text() | st.none())
def test_a_notice_by_sms_is_one_line_of_at_most_three_segments(
    text: str, name: str | None, reachable: str | None
) -> None:
    wanted = an_offline(text, name=name, reachable=reachable)
    said = sign(word(wanted, Medium.SMS), Occasion.OFFLINE_MESSAGE, Medium.SMS, "签名" * 15).body
    assert segments(said) <= 3
    assert len(said.splitlines()) == 1


def test_a_notice_by_mail_is_bounded() -> None:
    # It goes to every administrator, and a batch of long messages would fill the memory.
    assert utf16_units(word(an_offline("长" * 500_000), Medium.EMAIL).body) < 21_000


def test_without_a_name_it_is_a_visitor() -> None:
    assert word(an_offline(name=None), Medium.EMAIL).body.startswith("访客 给您留言")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("烤箱", "Re: 烤箱"),
        ("RE: 烤箱", "RE: 烤箱"),
        ("回复：烤箱", "回复：烤箱"),
        (None, "客服回复"),
        (" \n", "客服回复"),
    ],
)
def test_the_subject_of_a_reply(subject: str | None, expected: str) -> None:
    assert word(a_reply("w@example.com", subject=subject), Medium.EMAIL).subject == expected


@pytest.mark.parametrize(
    ("chosen", "short_name", "expected"),
    [
        (None, "小店", "小店"),
        ("大店", "小店", "大店"),
        ("", "小店", None),
        (None, None, None),
        ("【大店】", "", "大店"),
    ],
)
def test_which_signature_is_in_force(chosen: str | None, short_name: str | None, expected: str | None) -> None:
    assert signature_of(chosen, short_name) == expected


@given(st.text(), st.text())
def test_no_text_adds_a_header_or_recipient(subject: str, text: str) -> None:
    content = compose(Letter(TICKET, "w@example.com", Wording(subject, text)), "Kefu <kefu@kefu.example>")
    mail = message_from_bytes(content, policy=policy.default)
    assert sorted(mail.keys()) == sorted(
        [
            *("From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Transfer-Encoding"),
            *("MIME-Version", "Auto-Submitted", "Kefu-Loop"),
        ]
    )
    assert mail["Message-ID"] == f"<{TICKET}@kefu.example>"


# Whom to tell


def test_an_offline_message_is_told_to_each_address_once() -> None:
    staff = Recipients(["a@example.com", "a@example.com ", "b@example.com"], ["+86 138", "+86138"])
    told = [(i.medium, i.to, i.failure) for i in plan(an_offline(), staff, NOW, NOW)]
    assert told == [
        (Medium.EMAIL, "a@example.com", None),
        (Medium.EMAIL, "b@example.com", None),
        (Medium.SMS, "+86138", None),
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (a_reply("w@example.com", "138"), (Medium.EMAIL, "w@example.com", None)),
        (a_reply(None, "+86 138"), (Medium.SMS, "+86138", None)),
        (a_reply(" ", "138"), (Medium.SMS, "138", None)),
        (a_reply(), (Medium.EMAIL, None, Reason.NO_RECIPIENT)),
        (a_reply("nonsense"), (Medium.EMAIL, "nonsense", Reason.BAD_ADDRESS)),
        (a_reply(None, "call me"), (Medium.SMS, "callme", Reason.BAD_ADDRESS)),
    ],
)
def test_a_reply_goes_by_email_else_by_sms(reply: MessageWanted, expected: Sequence[object]) -> None:
    (intent,) = plan(reply, Recipients(["admin@example.com"]), NOW, NOW)
    assert (intent.medium, intent.to, intent.failure) == expected


def test_what_is_older_than_three_days_is_not_told() -> None:
    for age, failure in ((timedelta(days=3), None), (timedelta(days=3, seconds=1), Reason.TOO_OLD)):
        (intent,) = plan(a_reply("w@example.com"), Recipients(), NOW - age, NOW)
        assert intent.failure == failure


@given(st.text())
def test_an_address_holds_nothing_that_smtp_would_act_on(text: str) -> None:
    if is_address(text):
        assert not set(text) & set("\r\n <>,;\x00")
        assert text.count("@") == 1


# What becomes of an attempt


@pytest.mark.parametrize("text", ["a@=?utf-8?q?b=0D=0ABcc=3Av=40x.y?=", "=?utf-8?q?a=0Ab?=@b.c"])
def test_an_encoded_word_is_no_address(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    ("code", "result"), [(421, "retry"), (451, "retry"), (550, "rejected"), (554, "rejected"), (-1, "retry")]
)
def test_smtp_replies_have_one_class_each(code: int, result: str) -> None:
    assert smtp_result(code) == result


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "sent"),
        (202, "sent"),
        (400, "rejected"),
        (404, "rejected"),
        (408, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "unknown"),
        (503, "retry"),
        (504, "unknown"),
    ],
)
def test_http_answers_have_one_class_each(status: int, result: str) -> None:
    assert http_result(status) == result


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_waits_grow_up_to_five_minutes(attempts: int, jitter: float) -> None:
    assert 0.5 <= wait_s(attempts, 1.0, jitter) <= 300
    assert wait_s(attempts, 1.0, 0) <= wait_s(attempts + 1, 1.0, 0)


def test_a_message_is_given_up_when_its_next_attempt_would_be_too_late() -> None:
    give_up_at = NOW + timedelta(hours=24)
    tried = after(Outcome(Result.RETRY), give_up_at, give_up_at - timedelta(seconds=9), 8)
    assert (tried.state, tried.due_at) == (State.SENDING, give_up_at - timedelta(seconds=1))
    given_up = after(Outcome(Result.RETRY), give_up_at, give_up_at - timedelta(seconds=9), 10)
    assert (given_up.state, given_up.reason) == (State.FAILED, Reason.EXPIRED)


def test_a_provider_may_ask_for_a_longer_wait_but_not_for_ever() -> None:
    later = NOW + timedelta(days=1)
    for asked, waits in ((1.0, 8), (60.0, 60), (10_000_000.0, 3600)):
        following = after(Outcome(Result.RETRY, retry_after_s=asked), later, NOW, 8)
        assert following.due_at == NOW + timedelta(seconds=waits)


def test_only_an_unknown_outcome_stays_open() -> None:
    later = NOW + timedelta(days=1)
    assert [r for r in Result if after(Outcome(r), later, NOW, 1).is_open] == [Result.UNKNOWN]


# Credit (O-07)


@given(st.integers(min_value=0, max_value=1000), st.lists(st.integers(min_value=1, max_value=50)))
def test_credit_is_never_overdrawn_and_nothing_affordable_is_refused(balance: int, costs: list[int]) -> None:
    paid = affordable(balance, costs)
    left = balance - sum(cost for cost, is_paid in zip(costs, paid, strict=True) if is_paid)
    assert left >= 0
    assert all(is_paid or cost > left for cost, is_paid in zip(costs, paid, strict=True))


# The tickets feed


@given(st.permutations(range(1, 9)), st.lists(st.integers(min_value=1, max_value=8)), st.integers(0, 8))
def test_however_events_come_each_is_shown_once_and_in_order(
    arrival: list[int], repeats: list[int], batch: int
) -> None:
    shown: list[int] = []
    last, waiting = 0, list[Sequenced[str]]()
    arriving = arrival[:batch] + repeats + arrival[batch:]
    for start in range(0, len(arriving), 3):
        incoming = [Sequenced(n, str(n)) for n in arriving[start : start + 3]]
        ordered = in_order(last, incoming + waiting)
        last, waiting = ordered.last, ordered.waiting
        shown += [s.sequence for s in ordered.shown]
        assert shown == list(range(1, last + 1))
    assert shown == list(range(1, 9))
    assert waiting == []


@pytest.mark.parametrize("event", [b'{"a": 1}', b'{\n "a":\r\n 1}\n', '{"a": "x\u2028y\u0085z"}'.encode()])
def test_an_event_is_one_line_for_any_reader(event: bytes) -> None:
    line = on_one_line(event)
    assert len(line.splitlines()) == 1
    assert json.loads(line) == json.loads(event)


def test_an_event_that_is_one_line_stays_as_it_came() -> None:
    assert on_one_line('{"a" : "王芳"}'.encode()) == '{"a" : "王芳"}'
