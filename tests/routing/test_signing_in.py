"""The rules of signing in, without a database: waits, renewals, codes, passwords. (D-12)"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import pytest

from kefu_routing.domain.signing_in import (
    FORGOTTEN_AFTER,
    FREE_FAILURES,
    IDLE,
    LONGEST_SESSION,
    LONGEST_WAIT,
    LOST_ANSWER,
    Attempts,
    Renewal,
    Session,
    begun,
    fingerprint,
    judge_renewal,
    password_fault,
    plain_code,
    session_end,
    step_of,
    still_waits,
    wait_after,
)

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SESSION = Session(
    UUID(int=1), "acme", "a01", fingerprint("now"), fingerprint("before"), NOW, NOW, NOW + timedelta(hours=12)
)


def test_waits_double_from_the_fourth_failure_and_end_at_a_quarter_of_an_hour() -> None:
    # D-12
    assert [wait_after(n).total_seconds() for n in range(1, 8)] == [0, 0, 0, 2, 4, 8, 16]
    assert wait_after(10_000) == LONGEST_WAIT


def test_an_attempt_counts_as_failed_from_its_beginning_until_a_quiet_day_has_passed() -> None:
    # D-12
    known: Attempts | None = None
    for _ in range(FREE_FAILURES + 1):
        assert still_waits(known, NOW) == timedelta(0)
        known = begun(known, NOW)
    assert known is not None
    assert still_waits(known, NOW) == timedelta(seconds=2)
    assert still_waits(known, NOW + timedelta(seconds=2)) == timedelta(0)
    assert begun(known, NOW + FORGOTTEN_AFTER + timedelta(seconds=1)).failures == 1


@pytest.mark.parametrize(
    ("shown", "later", "verdict"),
    [
        ("now", timedelta(hours=11), Renewal.GOOD),
        ("now", timedelta(hours=12), Renewal.REFUSED),
        ("before", LOST_ANSWER, Renewal.GOOD),
        ("before", LOST_ANSWER + timedelta(seconds=1), Renewal.STOLEN),
        ("never", timedelta(0), Renewal.REFUSED),
    ],
)
def test_a_former_secret_renews_for_a_minute_and_then_shows_that_two_have_it(
    shown: str, later: timedelta, verdict: Renewal
) -> None:
    # D-12
    assert judge_renewal(SESSION, fingerprint(shown), NOW + later) is verdict


def test_a_session_that_was_never_renewed_has_no_former_secret() -> None:
    # D-12
    assert judge_renewal(replace(SESSION, former_renewal=None), fingerprint("before"), NOW) is Renewal.REFUSED


def test_a_session_ends_when_idle_and_after_a_week_at_the_latest() -> None:
    # D-12
    assert session_end(NOW, NOW) == NOW + IDLE
    assert session_end(NOW, NOW + timedelta(days=6, hours=23)) == NOW + LONGEST_SESSION


def test_a_code_counts_a_step_early_or_late_and_never_twice() -> None:
    # D-12
    current = int(NOW.timestamp()) // 30
    codes = {step: pyotp.TOTP(SECRET).generate_otp(step) for step in range(current - 2, current + 3)}
    found = {step - current: step_of(SECRET, code, NOW, 0) for step, code in codes.items()}
    assert found == {-2: None, -1: current - 1, 0: current, 1: current + 1, 2: None}
    assert step_of(SECRET, f"{codes[current][:3]} {codes[current][3:]}", NOW, 0) == current
    assert step_of(SECRET, codes[current], NOW, current) is None
    assert step_of(SECRET, codes[current - 1], NOW, current) is None
    assert step_of(SECRET, "１２３４５６", NOW, 0) is None


@pytest.mark.parametrize(
    ("password", "is_good"),
    [
        ("correct horse", True),
        ("一二三四五六七八九十", True),
        ("too short", False),
        ("x" * 201, False),
        ("aaaaaaaaaabc", False),
        ("Wang.Fang@Example.com", False),
    ],
)
def test_a_password_is_long_varied_and_not_the_agents_name(password: str, is_good: bool) -> None:
    # D-12
    assert (password_fault(password, ["wang.fang@example.com"]) is None) is is_good


def test_a_recovery_code_is_the_same_with_and_without_dashes() -> None:
    # D-12
    assert plain_code("abcd-efgh ijkl-MNOP") == "ABCDEFGHIJKLMNOP"
