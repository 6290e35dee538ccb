"""Locks are taken in the order contact, group, agent, ticket (design, section 4), so that none waits for another."""

import asyncio

import asyncpg

from tests.e2e.kefu import Kefu, an_id, until
from tests.faults.conftest import Killable


async def test_a_command_locks_its_agent_before_its_ticket(killable: Killable) -> None:
    stack = killable.stack.describe()
    batch = await asyncpg.connect(stack["postgres"]["routing"])
    watcher = await asyncpg.connect(stack["postgres"]["routing"])

    async def waits() -> bool:
        return bool(
            await watcher.fetchval(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'update seats %'"
            )
        )

    try:
        async with Kefu(stack) as kefu:
            await kefu.sign_in("a05")
            interaction = an_id("chat")
            await kefu.post("/v1/chats", "chat.started", interaction, category="after-sale")
            ticket = await kefu.ticket_in(interaction, "offered")
            await kefu.accept(await kefu.offer_of(ticket))
            await batch.execute("begin")
            await batch.execute("select from seats where account = 'demo' and agent = 'a05' for update")
            reply = asyncio.create_task(kefu.command(ticket, "reply", {"text": "one moment"}, "a05"))
            try:
                await until("the reply waits for its agent", waits)
                await batch.execute("select from tickets where id = $1 for update nowait", ticket["id"])
            finally:
                await batch.execute("rollback")
                await reply
            await kefu.command(ticket, "resolve", {"text": ""}, "a05")
            await kefu.sign_everybody_out()
    finally:
        await batch.close()
        await watcher.close()
