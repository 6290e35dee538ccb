"""What a batch of events frees is given work in the same commit, and nobody is waited for there."""

from typing import Any

import pytest

from kefu_common.postgres.database import Connection
from kefu_routing.domain.work import Work
from kefu_routing.handlers import assigning
from kefu_routing.handlers.assigning import Assigned, Prospect
from tests.routing.service import Connect, Routing, until


async def _on_a_call_while_another_waits(routing: Routing) -> None:
    """The call `p1` in the hands of the only agent, and `p2` behind it."""
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    await routing.tell("call.started", "p1")
    await routing.ticket("p1", "offered")
    await routing.tell("call.answered", "p1", agent="a01")
    await routing.ticket("p1", "active")
    await routing.tell("call.started", "p2")
    await routing.ticket("p2", "queued")


async def test_who_hangs_up_is_offered_the_next_call_by_the_same_commit(routing: Routing, connect: Connect) -> None:
    await _on_a_call_while_another_waits(routing)
    await routing.tell("call.ended", "p1")
    await routing.ticket("p2", "offered")
    reader = await connect("routing")
    # `_ASSIGNED_AT_ONCE` in handlers/interactions.py as 0 makes two commits of it.
    commits = await reader.fetch("select distinct xmin::text from tickets where interaction in ('p1', 'p2')")
    assert len(commits) == 1


async def test_a_ticket_that_somebody_else_changes_holds_up_no_batch_and_is_offered_afterwards(
    routing: Routing, connect: Connect
) -> None:
    await _on_a_call_while_another_waits(routing)
    other, reader = await connect("routing"), await connect("routing")

    async def is_free() -> bool | None:
        holder = await reader.fetchval("select holder from tickets where interaction = 'p1'")
        return True if holder is None else None

    async with other.transaction():
        # Without `skip locked` in `queues.lock_waiting` the batch waits for this.
        await other.execute("select from tickets where interaction = 'p2' for update")
        await routing.tell("call.ended", "p1")
        await until("the call has ended", is_free, within_s=3)
        waiting: Any = await reader.fetchval("select status from tickets where interaction = 'p2'")
        assert waiting == "queued"
    await routing.ticket("p2", "offered")


async def test_an_error_in_assignment_is_no_fault_of_the_events_beside_it(
    routing: Routing, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _on_a_call_while_another_waits(routing)
    real, failed = assigning.assign, 0

    async def broken_beside_events(tx: Connection, work: Work, prospect: Prospect, clock: Any, **how: Any) -> Assigned:
        nonlocal failed
        if how:
            failed += 1
            raise ValueError("a ticket that the rules do not understand")
        return await real(tx, work, prospect, clock)

    # Without the `except` in `_assign_at_once` the call's end becomes a dead letter.
    monkeypatch.setattr(assigning, "assign", broken_beside_events)
    await routing.tell("call.ended", "p1")
    await routing.ticket("p2", "offered")
    assert failed == 1
    reader = await connect("routing")
    assert await reader.fetchval("select holder from tickets where interaction = 'p1'") is None
