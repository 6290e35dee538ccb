"""The end of the demo: what Kefu counted beside what was posted, and where to look further."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kefu_local.demo.figures import today
from kefu_local.demo.play import Played
from kefu_local.demo.screen import NAMES
from kefu_local.demo.tally import CHANNELS, MEASURES
from kefu_local.stack import StackFile

TITLES = {"messages_left": "messages left"}


def differences(outcome: Played) -> Iterator[str]:
    """Each number of Kefu's that is not the demo's own, in a sentence."""
    posted = outcome.tally.counts()
    for measure in MEASURES:
        for channel in CHANNELS:
            kefu, demo = outcome.figures.counts[measure][channel], posted[measure][channel]
            if kefu != demo:
                yield f"{NAMES[channel]} {measure}: the report says {kefu}, the demo {demo}"
    for name, kefu, demo in (
        ("SMS", outcome.figures.sms, outcome.tally.sms),
        ("e-mails", outcome.figures.emails, outcome.tally.emails),
    ):
        if kefu != demo:
            yield f"{name} sent: the sink holds {kefu} more than before, expected were {demo}"


def print_summary(console: Console, outcome: Played, stack: StackFile, stack_file: Path) -> None:
    console.print(
        f"\nAn hour at the shop in {outcome.took_s:.0f} s (speed {outcome.speed:g}, seed {outcome.seed}).",
        highlight=False,
    )
    console.print(_table(outcome))
    for line in _facts(outcome):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    unequal = list(differences(outcome))
    if unequal:
        console.print("\nThe numbers differ. Did anybody else use the stack meanwhile?", highlight=False)
        for line in unequal:
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    if not outcome.all_done:
        console.print("Not everything was dealt with in time: see `make status`.", highlight=False)
    console.print("\nLook further:")
    for name, where in _links(outcome, stack, stack_file):
        console.print(f"  {name:<11} {where}", highlight=False, soft_wrap=True, markup=False)


def _table(outcome: Played) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("  counted by Kefu", no_wrap=True)
    for channel in CHANNELS:
        table.add_column(NAMES[channel], justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_column("posted", justify="right", no_wrap=True)
    posted = outcome.tally.counts()
    for measure in MEASURES:
        counted = outcome.figures.counts[measure]
        cells = [str(counted[channel]) if counted[channel] else "·" for channel in CHANNELS]
        same = "✓" if counted == posted[measure] else "≠"
        row = (f"  {TITLES.get(measure, measure)}", *cells, str(sum(counted.values())))
        table.add_row(*row, f"{sum(posted[measure].values())} {same}")
    return table


def _facts(outcome: Played) -> Iterator[str]:
    tally, figures = outcome.tally, outcome.figures
    if figures.mean_wait_s is not None:
        shops_s = figures.mean_wait_s * outcome.speed
        yield f"mean wait until an agent answered: {figures.mean_wait_s:.2f} s ({shops_s:.0f} s of the shop's time)"
    yield f"in the sink: {figures.sms} SMS, {figures.emails} e-mails (expected {tally.sms} and {tally.emails})"
    scores = tally.ratings
    ratings = f"{len(scores)} ratings, {sum(scores) / len(scores):.1f} on average" if scores else "no ratings"
    joined = f"e-mails that joined another {tally.joined}"
    yield f"transferred {tally.transfers}, declined {tally.declined}, {joined}, {ratings}"
    again = f", {tally.repeats} requests sent again" if tally.repeats else ""
    yield f"posted {tally.events} events and {tally.commands} commands{again}"
    yield f"dead letters: {figures.dead_letters or 'none'}"


def _links(outcome: Played, stack: StackFile, stack_file: Path) -> Iterator[tuple[str, str]]:
    report = f"{stack['services']['reporting']}/v1/reports/daily?date={today()}&by=channel"
    if outcome.trace is not None:
        yield "a trace", f"{outcome.trace} (a message left, from the adapter to the SMS and the report)"
    yield "the sink", stack["sink"]
    yield "the report", report
    yield "", f"""KEY=$(python3 -c 'import json; print(json.load(open("{stack_file}"))["keys"]["admin"])')"""
    yield "", f"""curl -H "Authorization: Bearer $KEY" '{report}'"""
