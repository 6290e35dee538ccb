"""What agents do, and what ends by itself."""

from typing import Any

from kefu_common.events.words import PresenceState
from kefu_routing.domain import presence
from kefu_routing.domain.model import Seat
from kefu_routing.domain.presence import Cause
from kefu_routing.domain.work import Freed
from tests.routing.builders import NOON, later

AVAILABLE, BREAK, AFTER_CALL, AWAY = (
    PresenceState.AVAILABLE,
    PresenceState.BREAK,
    PresenceState.AFTER_CALL,
    PresenceState.AWAY,
)


def a_seat(state: PresenceState | None = AVAILABLE, **fields: Any) -> Seat:
    return Seat("acme", "a01", state, **fields)


def test_a_call_leaves_a_while_for_what_is_to_be_done_after_it() -> None:
    seat = a_seat()
    assert presence.ticket_ended(seat, Freed(NOON, 60), 0) is Cause.AFTER_CALL
    assert (seat.state, seat.until, seat.freed_at) == (AFTER_CALL, later(60), NOON)
    assert presence.time_is_up(seat, 0, later(59)) is None
    assert presence.time_is_up(seat, 0, later(60)) is Cause.TIME
    assert (seat.state, seat.until, seat.freed_at) == (AVAILABLE, None, later(60))


def test_what_comes_next_comes_when_the_last_thing_in_hand_has_ended() -> None:
    seat = a_seat()
    presence.plan_next(seat, BREAK, "午餐")
    assert presence.ticket_ended(seat, Freed(NOON, 0), 1) is None
    assert seat.state is AVAILABLE
    assert presence.ticket_ended(seat, Freed(NOON, 0), 0) is Cause.NEXT
    assert (seat.state, seat.reason, seat.next_state) == (BREAK, "午餐", None)


def test_after_call_work_comes_before_what_is_next() -> None:
    seat = a_seat()
    presence.plan_next(seat, BREAK, None)
    assert presence.ticket_ended(seat, Freed(NOON, 30), 0) is Cause.AFTER_CALL
    assert presence.ticket_ended(seat, Freed(later(1), 0), 0) is None
    assert presence.time_is_up(seat, 0, later(30)) is Cause.NEXT
    assert seat.state is BREAK


def test_who_ends_after_call_work_is_not_called_back_by_its_time() -> None:
    seat = a_seat(AFTER_CALL, until=later(60))
    assert presence.set_state(seat, BREAK, None, NOON)
    assert presence.time_is_up(seat, 0, later(60)) is None
    assert seat.state is BREAK


def test_who_lets_an_offer_lapse_is_away_until_they_do_something() -> None:
    seat = a_seat()
    assert presence.miss(seat) is Cause.MISSED
    assert (seat.state, seat.reason) == (AWAY, "missed")
    assert presence.miss(seat) is None
    assert presence.come_back(seat, later(9)) is Cause.ACT
    assert (seat.state, seat.reason, seat.freed_at) == (AVAILABLE, None, later(9))
    signed_out = a_seat(None)
    assert presence.miss(signed_out) is None


def test_who_said_that_they_are_away_stays_so_whatever_they_do() -> None:
    seat = a_seat(AWAY, reason="会议")
    assert presence.come_back(seat, NOON) is None
    assert seat.state is AWAY


def test_being_told_to_be_available_again_is_no_new_idleness() -> None:
    seat = a_seat(freed_at=NOON)
    assert not presence.set_state(seat, AVAILABLE, None, later(60))
    assert seat.freed_at == NOON
