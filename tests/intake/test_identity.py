"""One spelling for numbers, addresses and ids (H-06); what was sent stays beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_intake.domain.forms import read_form
from kefu_intake.domain.identity import uniform_email, uniform_id, uniform_phone
from kefu_intake.domain.stamping import stamp
from tests.intake.building import a_post, body_of


@pytest.mark.parametrize(
    ("written", "uniform"),
    [
        ("13800138000", "+8613800138000"),
        ("138 0013 8000", "+8613800138000"),
        ("138-0013-8000", "+8613800138000"),
        ("１３８００１３８０００", "+8613800138000"),
        ("+86 (0)138 0013 8000", "+8613800138000"),
        ("0086 138-0013-8000", "+8613800138000"),
        ("+8613800138000", "+8613800138000"),
        ("010-12345678", "+861012345678"),
        ("021-62345678转801", "+862162345678;ext=801"),
        ("02162345678 分机 801", "+862162345678;ext=801"),
        ("+1 650 253 0000 ext. 12", "+16502530000;ext=12"),
        ("+852 9123 4567", "+85291234567"),
        # service numbers, and what is none at all, pass as they are
        ("95588", "95588"),
        ("12345", "12345"),
        ("8881890", "8881890"),
        ("4001234567", "4001234567"),
        ("8008101234", "8008101234"),
        ("anonymous", "anonymous"),
        ("", ""),
        ("1" * 300, "1" * 300),
    ],
)
def test_a_number_in_china_has_one_spelling(written: str, uniform: str) -> None:
    assert uniform_phone(written, "CN") == uniform


def test_a_number_without_a_country_is_at_home_where_the_site_is() -> None:
    assert uniform_phone("91234567", "HK") == "+85291234567"
    assert uniform_phone("650 253 0000", "US") == "+16502530000"


@given(st.text(max_size=80), st.sampled_from(["CN", "US", "HK"]))
def test_a_uniform_number_is_its_own_spelling(written: str, region: str) -> None:
    once = uniform_phone(written, region)
    assert uniform_phone(once, region) == once


@pytest.mark.parametrize(
    ("written", "uniform"),
    [
        ("Wang.Fang@Example.COM", "wang.fang@example.com"),
        (" w@example.com ", "w@example.com"),
        ("w@xn--fsqu00a.xn--0zwm56d", "w@例子.测试"),
        ("王@例子.中国", "王@例子.中国"),
        ("nobody", "nobody"),
        ("a@b@c", "a@b@c"),
        ("", ""),
    ],
)
def test_an_address_has_one_spelling(written: str, uniform: str) -> None:
    assert uniform_email(written) == uniform


@given(st.text(max_size=100))
def test_a_uniform_address_is_its_own_spelling(written: str) -> None:
    assert uniform_email(uniform_email(written)) == uniform_email(written)


def test_an_id_has_no_blanks_around_it() -> None:
    assert uniform_id(" crm-42\u3000") == "crm-42"


def test_what_was_sent_stays_beside_what_was_made_uniform() -> None:
    # H-06, K-02
    contact = {"phone": "138 0013 8000", "email": "W@Example.com", "external_id": "crm-42", "name": " 王芳 "}
    post = a_post("call.started", contact=contact, data={"from": "138 0013 8000", "to": "4001234567"})
    data = stamp(read_form("calls", body_of(post)), "acme", None, "CN", None).data.model_dump(
        by_alias=True, exclude_none=True
    )
    assert data["contact"] == {
        "phone": "+8613800138000",
        "email": "w@example.com",
        "external_id": "crm-42",
        "name": " 王芳 ",
        "given": {"phone": "138 0013 8000", "email": "W@Example.com"},
    }
    assert (data["from"], data["to"], data["given"]) == ("+8613800138000", "4001234567", {"from": "138 0013 8000"})


def test_nobody_may_say_what_intake_stamps() -> None:
    for path, post in (
        ("calls", a_post("call.started", data={"given": {"from": "1"}})),
        ("chats", a_post(contact={"given": {"phone": "1"}})),
        ("emails", a_post("email.received", data={"auto": "reply"})),
        ("emails", a_post("email.received", data={"message_id": "x"})),
    ):
        with pytest.raises(Exception, match="unknown field"):
            read_form(path, body_of(post))
