"""Who is left out of a round, so that nobody is passed over."""

from kefu_routing.domain.dispatch import Round
from kefu_routing.domain.interactions import decide
from kefu_routing.domain.model import Ticket
from kefu_routing.domain.strategies import Candidate
from kefu_routing.domain.work import Work
from tests.routing.builders import (
    AFTER_SALE,
    NOON,
    SALES,
    a_candidate,
    a_directory,
    a_group,
    an_event,
    nothing_known,
    some_work,
    the_ticket,
)

VIP = ("acme", "vip")


def a_shop(category: str = "after-sale") -> tuple[Work, Ticket]:
    """Three groups, x is in the first two; a chat of this category waits."""
    groups = [a_group("sales", "a01", "x"), a_group("after-sale", "a02", "x"), a_group("vip", "a03")]
    work = some_work(a_directory(*groups))
    decide(work, nothing_known(), an_event("chat.started", category=category), 0, NOON)
    return work, the_ticket(work)


def teams_with(x: Candidate) -> dict[tuple[str, str], list[Candidate]]:
    busier = [a_candidate(agent, offers_today=9) for agent in ("a01", "a02", "a03")]
    return {SALES: [x, busier[0]], AFTER_SALE: [x, busier[1]], VIP: [busier[2]]}


def test_a_group_is_left_out_with_those_that_share_somebody_free_with_it() -> None:
    """Without the loop in `leave_out` the chat goes to a02, whom x beats."""
    work, ticket = a_shop()
    this = Round(work, teams_with(a_candidate("x")), NOON)
    assert this.leave_out([SALES]) == {SALES, AFTER_SALE}
    this.decide([ticket])
    assert this.decisions == []
    of_vip, alone = a_shop("vip")
    this = Round(of_vip, teams_with(a_candidate("x")), NOON)
    this.leave_out([SALES])
    this.decide([alone])
    assert [d.agent for d in this.decisions] == ["a03"]


def test_whoever_takes_nothing_anyway_ties_no_groups_together() -> None:
    """Fails without `is_here` in `leave_out`."""
    work, ticket = a_shop()
    this = Round(work, teams_with(a_candidate("x", state=None)), NOON)
    assert this.leave_out([SALES]) == {SALES}
    this.decide([ticket])
    assert [d.agent for d in this.decisions] == ["a02"]


def test_what_also_waits_in_a_group_that_is_left_out_waits_on() -> None:
    """Fails without `left_out` in `Round.decide`."""
    work, ticket = a_shop("vip")
    ticket.wider = ["sales"]
    this = Round(work, teams_with(a_candidate("x")), NOON)
    this.leave_out([SALES])
    this.decide([ticket])
    assert this.decisions == []


def test_what_has_overflowed_since_the_look_waits_for_the_next_one_with_all_its_agents() -> None:
    """Fails without `_is_late` in `Round.decide`. Where a look could not see all of them, none waits."""
    for knows_wider, expected in ((True, []), (False, ["a02"])):
        work, ticket = a_shop()
        ticket.wider = ["vip"]
        teams = {AFTER_SALE: [a_candidate("a02")]}
        this = Round(work, teams, NOON, knows_wider)
        this.decide([ticket])
        assert [d.agent for d in this.decisions] == expected
        assert this.left_out == ({AFTER_SALE, VIP} if knows_wider else set())
