"""`make demo`: a believable hour, whose numbers Kefu confirms."""

import io

from rich.console import Console

from kefu_local.demo.play import Wish, play
from kefu_local.demo.screen import Screen
from kefu_local.demo.summary import differences, print_summary
from kefu_local.demo.tally import CHANNELS
from kefu_local.stack import Stack
from tests.e2e.kefu import Kefu


async def test_the_demo_plays_an_hour_and_the_report_agrees_with_what_it_posted(stack: Stack, kefu: Kefu) -> None:
    written = io.StringIO()
    console = Console(file=written, width=100)
    with Screen(console) as screen:
        outcome = await play(stack.describe(), Wish(speed=900, seed=5, load=0.15), screen)
    print_summary(console, outcome, stack.describe(), stack.folder.stack_file)

    assert list(differences(outcome)) == []
    assert outcome.all_done
    assert outcome.figures.dead_letters == 0
    counted = outcome.figures.counts
    assert all(counted["opened"][channel] > 0 for channel in CHANNELS)
    assert all(counted["answered"][channel] > 0 for channel in ("call", "chat", "email"))
    assert (counted["refused"]["call"], counted["refused"]["chat"]) >= (1, 1)
    assert outcome.tally.joined > 0
    assert "✓" in written.getvalue()
    assert "≠" not in written.getvalue()
    for agent in ("a01", "a12"):
        away = await kefu.call("routing", "POST", f"/v1/agents/{agent}/heartbeat", {}, agent=agent, expect=409)
        assert "not signed in" in away["detail"]
