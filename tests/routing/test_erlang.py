"""Assignment adds no waiting of its own: with one kind of work and patience it is the queue that Erlang solved."""

import pytest

from tests.routing.erlang import Erlang
from tests.routing.one_queue import OneQueue

AGENTS, SERVICE_S, SEED = 5, 180.0, 20261123
WITHIN = 0.05
ERRORS = 3.0
"""How many standard errors a short run may lie off: a correct engine does so with three seeds in a thousand."""


@pytest.mark.parametrize(
    ("agents", "erlangs", "share"),
    # Rows of the Erlang C table in use for trunked radio: 3.87 E on 8 channels make 5 % wait, 4.08 E on 10 make 1 %.
    # And one agent is busy, two are both busy, in ρ and 2ρ²/(1+ρ) of the time.
    [(8, 3.87, 0.05), (10, 4.08, 0.01), (1, 0.9, 0.9), (2, 1.6, 2 * 0.8**2 / 1.8)],
)
def test_erlang_c_is_as_in_published_tables(agents: int, erlangs: float, share: float) -> None:
    assert Erlang(agents, erlangs / agents, 180).waiting_share == pytest.approx(share, rel=0.007)


@pytest.mark.parametrize(
    ("agents", "erlangs", "share"),
    [
        (1, 1 / 3, 0.3333333333333333),
        (3, 2, 0.4444444444444444),
        (14, 10, 0.1741319335950498),
        (15, 12.5, 0.4013021040840941),
        (30, 25, 0.2498931668869066),
        (100, 90, 0.21694048090636636),
    ],
)
def test_erlang_c_is_as_another_programme_computes_it(agents: int, erlangs: float, share: float) -> None:
    """As `ErlangC.waiting_probability` of pyworkforce 0.5.1 answered on 2026-11-25.

    The package itself is no dependency: for these ten lines it brings OR-Tools, pandas and NumPy, 270 MB of them.
    """
    assert Erlang(agents, erlangs / agents, 180).waiting_share == pytest.approx(share, rel=1e-12)


def test_the_mean_wait_is_as_in_the_textbook_example_of_a_call_centre() -> None:
    """100 calls in half an hour of 3 minutes each, 14 agents: 17.4 % wait, and the mean wait is 7.8 s."""
    example = Erlang(14, 10 / 14, 180)
    assert (round(example.waiting_share, 3), round(example.mean_wait_s, 1)) == (0.174, 7.8)


def test_the_error_of_one_agents_queue_is_as_published() -> None:
    """Of M/M/1 the asymptotic variance of the number that is there is 2ρ(1+ρ)/(1-ρ)⁴ (Whitt 1992, with μ = 1).

    In heavy traffic nearly all of them wait, so that the queue's variance is the same.
    """
    load, arrivals = 0.99, 1_000_000
    there, waiting = load / (1 - load), load**2 / (1 - load)
    published = (2 * load * (1 + load) / (1 - load) ** 4 * load / arrivals) ** 0.5 / there
    assert Erlang(1, load, 1).relative_error(arrivals) == pytest.approx(published * there / waiting, rel=0.001)


@pytest.mark.parametrize("load", [0.7, 0.8, 0.9])
def test_the_mean_wait_is_erlangs_within_what_a_short_run_can_tell(load: float) -> None:
    """60,000 calls at each load: three standard errors are 16, 19 and 31 % of the mean wait."""
    model, arrivals = Erlang(AGENTS, load, SERVICE_S), 60_000
    measured = OneQueue(model, SEED).mean_wait_s(arrivals)
    assert measured == pytest.approx(model.mean_wait_s, rel=ERRORS * model.relative_error(arrivals))


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("load", "arrivals"), [(0.7, 600_000), (0.8, 800_000), (0.9, 2_000_000)])
def test_the_mean_wait_is_erlangs_within_five_percent(load: float, arrivals: int) -> None:
    """3,400,000 calls; the standard errors are 1.7, 1.7 and 1.8 %, so that 5 % are 3.0, 2.9 and 2.8 of them.

    Five agents rather than twenty: with as many calls the error is smaller, since more of them wait (of twenty agents'
    calls at 70 % only one in ten does).
    """
    model = Erlang(AGENTS, load, SERVICE_S)
    assert ERRORS * model.relative_error(arrivals) < 1.1 * WITHIN
    measured = OneQueue(model, SEED).mean_wait_s(arrivals)
    assert measured == pytest.approx(model.mean_wait_s, rel=WITHIN)
