"""What docs/adapters.md shows of the stream is what Kefu sends, and what the client reads."""

import json
import re
from pathlib import Path

import pytest

from kefu_client.instructions import read_instruction
from kefu_common.events.envelope import read_event
from kefu_common.events.outbound import OUTBOUND_MODELS, ChatInvite, ChatPosition

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "adapters.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^\{\"specversion\".*\"type\":\"kefu\.chat\.(?:position|invite)\".*\}$", PAGE, re.MULTILINE)
SENT = sorted((TESTS / "common" / "examples" / "kefu.outbound.v1").glob("*.json"))


def test_the_page_shows_a_place_in_the_queue_and_an_invitation_as_they_are_sent() -> None:
    events = [read_event(text.encode(), OUTBOUND_MODELS) for text in SHOWN]
    assert [type(event.data) for event in events] == [ChatPosition, ChatInvite]
    assert [event.to_bytes().decode() for event in events] == SHOWN
    assert events[1].data.ticket is None


def test_the_page_names_every_instruction() -> None:
    table = PAGE.partition("| instruction | do |")[2].partition("\n\n")[0]
    named = [
        name for row in table.splitlines() for name in re.findall(r"`((?:call|chat)\.\w+)", row.partition(" | ")[0])
    ]
    assert {f"kefu.{name}" for name in named} == OUTBOUND_MODELS.keys()


@pytest.mark.parametrize("path", SENT, ids=lambda path: path.name)
def test_the_client_reads_every_instruction_that_was_ever_sent(path: Path) -> None:
    event = read_event(path.read_bytes(), OUTBOUND_MODELS)
    instruction = read_instruction(json.loads(path.read_bytes()))
    assert (instruction.id, instruction.interaction) == (str(event.id), event.subject)
    assert instruction.expires_at == event.data.expires_at
