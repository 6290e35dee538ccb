"""What a batch of events frees is given work in the same commit, and nobody is waited for there."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from kefu_common.events.envelope import Event, body_hash
from kefu_common.events.interactions import ContactClaim, EmailReceived
from kefu_common.ids import derived_event_id
from kefu_common.kafka.producer import Outgoing
from kefu_common.kafka.topics import INTERACTIONS
from kefu_common.postgres.database import Connection
from kefu_common.postgres.writes import Writes
from kefu_routing.domain.work import Work
from kefu_routing.handlers import assigning
from kefu_routing.handlers.assigning import Assigned, Prospect
from kefu_routing.store import work as store
from tests.routing.service import WAITS_FOR_A_LOCK, Connect, Routing, until


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


async def test_the_oldest_is_not_overtaken_while_somebody_else_changes_it_and_holds_up_no_batch(
    routing: Routing, connect: Connect
) -> None:
    await _on_a_call_while_another_waits(routing)
    await routing.tell("call.started", "p3")
    await routing.ticket("p3", "queued")
    other, reader = await connect("routing"), await connect("routing")

    async def is_free() -> bool | None:
        holder = await reader.fetchval("select holder from tickets where interaction = 'p1'")
        return True if holder is None else None

    async with other.transaction():
        # Without `skip locked` in `queues.try_lock_waiting` the batch waits for this; without `leave_out(missed)` in
        # `assigning._look_at_once` the agent gets p3.
        await other.execute("select from tickets where interaction = 'p2' for update")
        await routing.tell("call.ended", "p1")
        await until("the call has ended", is_free, within_s=3)
        waiting: Any = await reader.fetch("select distinct status from tickets where interaction in ('p2', 'p3')")
        assert [row["status"] for row in waiting] == ["queued"]
    await routing.ticket("p2", "offered")
    assert (await routing.ticket("p3"))["status"] == "queued"


async def test_what_is_written_while_a_wrong_join_is_undone_goes_to_the_ticket_of_its_own(
    routing: Routing, connect: Connect
) -> None:
    """Fails without `_need_unmoved`."""
    await routing.set_up()
    contact = {"email": "w@example.com"}
    await routing.tell("email.received", "e1", text="1", contact=contact)
    await routing.tell("email.received", "e2", text="2", contact=contact)
    await routing.tell("email.received", "e3", text="3", contact={"email": "li@example.com"})
    joined, other = await routing.ticket("e2"), await routing.ticket("e3")
    assert joined["interaction"] == "e1"
    mover, watcher = await connect("routing"), await connect("routing")

    async def waits() -> bool | None:
        return await watcher.fetchval(WAITS_FOR_A_LOCK) or None

    async with mover.transaction():
        await mover.execute("select from tickets where id = $1 for update", UUID(joined["id"]))
        await routing.tell("email.received", "e2", text="4", contact=contact)
        await until("the batch waits for the ticket", waits)
        await mover.execute("update interactions set ticket = $1 where id = 'e2'", UUID(other["id"]))

    async def told() -> list[str] | None:
        items = (await routing.call("GET", f"/v1/tickets/{other['id']}/messages"))["items"]
        return [m["text"] for m in items] if len(items) > 1 else None

    assert await until("the other ticket has it", told) == ["3", "4"]


async def test_nobody_is_given_anything_while_the_one_whose_turn_it_is_is_locked(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=2)
    await routing.sign_in("a01")
    await routing.sign_in("a02")
    first = await routing.tell("chat.started", "c1")
    taken = (await routing.ticket(first.subject, "offered"))["offer"]
    reader, other = await connect("routing"), await connect("routing")
    agent = await reader.fetchval("select agent from offers where id = $1::uuid", taken)
    idle = "a01" if agent == "a02" else "a02"
    async with other.transaction():
        # Without `leave_out(busy)` in `assigning.assign` whoever has more offers today gets the second one too.
        await other.execute("select from seats where agent = $1 for update", idle)
        await routing.tell("chat.started", "c2")
        await routing.ticket("c2", "queued")
    await routing.ticket("c2", "offered")
    assert await reader.fetchval("select holder from tickets where interaction = 'c2'") == idle


async def test_what_two_transactions_did_not_see_of_each_other_is_found_within_a_second(
    routing: Routing, connect: Connect
) -> None:
    await routing.set_up(agents=1)
    await routing.sign_in("a01")
    writer = await connect("routing")
    await writer.execute("update seats set state = 'busy' where agent = 'a01'")
    await routing.tell("chat.started", "c1")
    await routing.ticket("c1", "queued")
    # As one that committed while the other was under way: nobody is woken. Fails with `_LOOK_S` or `_JUST_S` of 2 s in
    # handlers/assigner.py.
    await writer.execute("update seats set state = 'available' where agent = 'a01'")

    async def is_offered() -> bool | None:
        found: bool | None = await writer.fetchval(
            "select true from tickets where interaction = 'c1' and status = 'offered'"
        )
        return found

    await until("the chat is offered", is_offered, within_s=1)


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


async def test_an_error_in_writing_what_assignment_decided_is_no_fault_of_the_events_either(
    routing: Routing, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _on_a_call_while_another_waits(routing)
    real_assign, real_save, beside_events = assigning.assign, store.save, []

    async def watched(tx: Connection, work: Work, prospect: Prospect, clock: Any, **how: Any) -> Assigned:
        if how:
            beside_events.append(work)
        return await real_assign(tx, work, prospect, clock, **how)

    async def broken_beside_events(tx: Connection, work: Work, writes: Writes | None = None) -> None:
        if any(work is made for made in beside_events):
            raise ValueError("an offer that cannot be written")
        await real_save(tx, work, writes)

    # With the `save` behind the `try` in `_assign_at_once` the call's end becomes a dead letter.
    monkeypatch.setattr(assigning, "assign", watched)
    monkeypatch.setattr(store, "save", broken_beside_events)
    await routing.tell("call.ended", "p1")
    await routing.ticket("p2", "offered")
    assert len(beside_events) == 1
    reader = await connect("routing")
    assert await reader.fetchval("select holder from tickets where interaction = 'p1'") is None


async def test_what_another_process_committed_while_its_events_came_again_is_seen(
    routing: Routing, connect: Connect
) -> None:
    """Fails without the second reading in `interactions._begin`."""
    await routing.set_up()
    await routing.tell("email.received", "e1", text="1", contact={"email": "w@example.com"})
    ticket = await routing.ticket("e1")
    other, watcher = await connect("routing"), await connect("routing")
    at = datetime.now(UTC)

    def mail(id: str) -> Event[Any]:
        data = EmailReceived(text=id, contact=ContactClaim(email="w@example.com"))
        event_id = derived_event_id("acme", "shop", "email.received", id)
        return Event(event_id, "kefu.email.received", "/sites/shop", "e2", at, "acme", data, adapter="mail")

    async def waits() -> bool | None:
        return await watcher.fetchval(WAITS_FOR_A_LOCK) or None

    again, new = mail("2"), mail("3")
    async with other.transaction():
        # The other one has applied the first of them to the ticket, and is about to commit.
        await other.execute("insert into inbox (event, body_hash) values ($1, $2)", again.id, body_hash(again))
        await other.execute(
            "insert into interactions (account, id, ticket, joined_at) values ('acme', 'e2', $1, now())",
            UUID(ticket["id"]),
        )
        topic = routing.world.prefix + INTERACTIONS.name
        await routing.producer.send([Outgoing(topic, b"acme/e2", event.to_bytes()) for event in (again, new)], 10)
        await until("the batch waits for the inbox", waits)
        # Not to be joined by who wrote it.
        await other.execute("update tickets set contact = gen_random_uuid() where id = $1", UUID(ticket["id"]))

    async def told() -> list[str] | None:
        found = await watcher.fetch("select text from messages where ticket = $1 order by id", UUID(ticket["id"]))
        return [row["text"] for row in found] if len(found) > 1 else None

    assert await until("the ticket has what is new", told) == ["1", "3"]
