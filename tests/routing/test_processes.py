"""The promises of assignment, with several routing processes at once on one database, one of which is killed."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import World
from tests.intake.running import free_port
from tests.routing.processes import Floor, a_process, reaching
from tests.routing.service import Connect, Json, Routing, until

AGENTS = {f"a{n:02}": {"call": 1, "chat": 2, "email": 1} for n in range(1, 7)}
CATEGORIES = ("sales", "support", "english")
LEVEL = 3

# Each returns offenders; every statement sees one moment.
OVER_CAPACITY = """
select account, holder, channel, count(*) from tickets
where holder is not null and (handler is null or channel <> 'call')
group by account, holder, channel having count(*) > case channel when 'chat' then 2 else 1 end
"""
OFFERED_BESIDE_A_CALL = """
select o.agent, o.ticket, o.channel from offers o join tickets c on c.account = o.account and c.holder = o.agent
join offers first on first.id = coalesce(c.offer, (select id from offers where ticket = c.id and status = 'accepted'
order by fence desc limit 1)) and first.created_at < o.created_at
where o.status = 'open' and o.channel <> 'call' and c.channel = 'call' and c.live
"""
OFFERED_TWICE = """
select ticket from offers where status = 'open' group by ticket having count(*) > 1
union all select t.id from tickets t join offers o on o.ticket = t.id where t.status = 'active' and o.status = 'open'
union all select id from tickets where (status = 'active') <> (handler is not null) and status in ('active', 'queued')
"""
OFFERED_OUTSIDE = """
select o.agent, t.id, t."group", t.category from offers o join tickets t on t.id = o.ticket
join directory g on g.account = o.account and g.kind = 'group' and g.id = t."group"
join directory a on a.account = o.account and a.kind = 'agent' and a.id = o.agent
where not g.body -> 'agents' ? o.agent or not (g.body -> 'sources' ? '*' or g.body -> 'sources' ? t.source)
or not (g.body -> 'tiers' ? '*' or g.body -> 'tiers' ? t.tier)
or (t.category = 'english' and coalesce((a.body -> 'skills' ->> '英语')::int, 0) < 3)
"""
"""Tickets are not transferred here, so a ticket's group is the one that it was offered in."""
TAKEN_TWICE = """
select ticket from offers where status = 'accepted' group by ticket having count(*) > 1
"""
GAPS = """
select ticket from history group by ticket having max(sequence) <> count(*) or min(sequence) <> 1
"""


class Shop(Floor):
    """Agents at work and contacts who come, go and lose patience."""

    posted = 0

    async def come(self, most: int) -> None:
        """Contacts of every channel, source, tier and category, some of whom nobody serves."""
        while self.is_open and self.posted < most:
            self.posted += 1
            kind = self.dice.choice(["call.started", "chat.started", "chat.started", "email.received", "message.left"])
            data: Json = {"source": self.dice.choice(["web", "app"]), "category": self.dice.choice(CATEGORIES)}
            if kind in ("email.received", "message.left"):
                data["text"] = "在吗"
            tier = self.dice.choice(["gold", "silver"])
            contact = {"external_id": f"crm-{self.posted}", "tier": tier}
            await self.services[0].tell(kind, f"i{self.posted}", contact=contact, **data)
            await asyncio.sleep(0.03)

    async def work(self, agent: str) -> None:
        """Accept, decline, let lapse, answer, finish, go on a break, come back."""
        await self.ask("POST", f"/v1/agents/{agent}/sign-in", {"lease_s": 0}, agent)
        in_hand: list[Json] = []
        while self.is_open:
            luck = self.dice.random()
            if luck < 0.05:
                wanted = {"state": self.dice.choice(["break", "busy"]), "next": self.dice.random() < 0.5}
                await self.ask("PUT", f"/v1/agents/{agent}/presence", wanted, agent)
            elif luck < 0.25:
                await self.ask("PUT", f"/v1/agents/{agent}/presence", {"state": "available"}, agent)
            elif luck < 0.5 and in_hand:
                await self.finish(agent, in_hand.pop())
            else:
                in_hand += await self.answer_offers(agent)
            await asyncio.sleep(0.02)
        for ticket in in_hand:
            await self.finish(agent, ticket)

    async def finish(self, agent: str, ticket: Json) -> None:
        if ticket["channel"] in ("call", "chat") and self.dice.random() < 0.7:
            await self.services[0].tell(f"{ticket['channel']}.ended", ticket["interaction"])
        await self.ask("POST", f"/v1/tickets/{ticket['id']}/resolve", {}, agent)

    async def hang_up(self) -> None:
        """Some of whoever still waits leaves."""
        while self.is_open:
            interaction = f"i{self.dice.randint(1, max(1, self.posted))}"
            for channel in ("call", "chat"):
                await self.services[0].tell(f"{channel}.ended", interaction, id=f"left-{channel}-{time.monotonic()}")
            await asyncio.sleep(0.3)


async def _set_up(routing: Routing) -> None:
    await routing.set_up(agents=6, seats=10, offer_s=dict.fromkeys(["call", "chat", "email", "message"], 2))
    for agent, capacity in AGENTS.items():
        skills = {"英语": 5} if agent in ("a02", "a05") else {}
        body = {"id": agent, "name": agent, "capacity": capacity, "skills": skills}
        await routing.call("PUT", f"/v1/agents/{agent}", body)
    await routing.call(
        "POST", "/v1/categories", {"id": "english", "name": "英语", "skills": {"英语": LEVEL}}, expect=201
    )
    for group, agents, ticks in (
        ("sales", ["a01", "a02", "a03"], {"sources": ["*"], "tiers": ["*"]}),
        ("support", ["a03", "a04", "a05", "a06"], {"sources": ["web"], "tiers": ["gold"]}),
    ):
        categories = ["english", "sales"] if group == "sales" else ["support"]
        body = {"id": group, "name": group, "leader": agents[0], "agents": agents, "categories": categories, **ticks}
        method, path = ("PUT", "/v1/groups/sales") if group == "sales" else ("POST", "/v1/groups")
        await routing.call(method, path, body, expect=200 if method == "PUT" else 201)
    plan = await routing.call("GET", "/v1/plans/shop")
    await routing.call("PUT", "/v1/plans/shop", {**plan, "groups": ["sales", "support"], "strategy": "least_loaded"})


async def _watch(database: "asyncpg.Connection[asyncpg.Record]", shop: Shop) -> int:
    """Ask the database again and again while all goes on; returns how often."""
    looks = 0
    while shop.is_open:
        for query in (OVER_CAPACITY, OFFERED_BESIDE_A_CALL, OFFERED_TWICE, OFFERED_OUTSIDE):
            offenders = [dict(row) for row in await database.fetch(query)]
            assert not offenders, f"{query}: {offenders}"
        looks += 1
        await asyncio.sleep(0.05)
    return looks


async def _drive(world: World, connect: Connect, folder: Path, seconds: float, seed: int) -> None:
    ports = [free_port(), free_port()]
    database = await connect("routing")
    async with reaching(world, ports) as services, a_process(world, 0, ports[0], folder / "0.log"):
        await _set_up(services[0])
        services[1].admin = services[0].admin
        shop = Shop(services, AGENTS, random.Random(seed))
        async with a_process(world, 1, ports[1], folder / "1.log") as second:
            tasks = [asyncio.create_task(shop.work(agent)) for agent in AGENTS]
            tasks += [asyncio.create_task(shop.come(round(seconds * 25))), asyncio.create_task(shop.hang_up())]
            watching = asyncio.create_task(_watch(database, shop))
            await _unless_failed([*tasks, watching], seconds / 2)
            second.kill()
            await second.wait()
        async with a_process(world, 1, ports[1], folder / "1.log"):
            await _unless_failed([*tasks, watching], seconds / 2)
            shop.is_open = False
            await asyncio.gather(*tasks)
            assert await watching > 10
            await _nothing_waits_for_a_free_agent(services[0], database)
    for query in (TAKEN_TWICE, GAPS, OFFERED_OUTSIDE):
        assert await database.fetch(query) == [], query
    offers = Counter(r["status"] for r in await database.fetch("select status from offers"))
    assert offers["accepted"] >= seconds, f"hardly anything happened: {offers}"


async def _unless_failed(tasks: "list[asyncio.Task[Any]]", seconds: float) -> None:
    """So long, or until one of the tasks fails."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _nothing_waits_for_a_free_agent(routing: Routing, database: "asyncpg.Connection[asyncpg.Record]") -> None:
    """With everybody there and nobody answering, all that is left waiting waits for want of room."""
    for agent in AGENTS:
        await routing.call("PUT", f"/v1/agents/{agent}/presence", {"state": "available"}, agent=agent)

    async def settled() -> bool | None:
        rows = await database.fetch(
            """
            select t.id from tickets t join directory g on g.account = t.account and g.kind = 'group'
            and g.id = t."group" cross join lateral jsonb_array_elements_text(g.body -> 'agents') m (agent)
            join seats s on s.account = t.account and s.agent = m.agent and s.state = 'available'
            where t.status = 'queued' and t.live and t.channel = 'chat' and t.passed = '{}' and t.category <> 'english'
            and not exists (select from tickets c where c.holder = m.agent and c.channel = 'call')
            and (select count(*) from tickets h where h.holder = m.agent and h.channel = 'chat') < 2
            """
        )
        return not rows or None

    await until("no chat waits beside a free agent", settled, 2)


async def test_two_processes_and_a_kill_keep_every_rule_of_assignment(
    world: World, connect: Connect, tmp_path: Path
) -> None:
    """Guards four rules.

    They are `queues.lock_groups`, `seats.lock` in `assigning._lock_candidates`, `queues._still_queued`, and the check
    of the ticket's offer in `offers.accept`.
    """
    await _drive(world, connect, tmp_path, 8, seed=6)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
async def test_two_processes_and_a_kill_keep_every_rule_for_longer(
    world: World, connect: Connect, tmp_path: Path, seed: int
) -> None:
    """The same, with more time."""
    await _drive(world, connect, tmp_path, 40, seed)


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded"])
async def test_two_processes_spread_tickets_evenly(
    world: World, connect: Connect, tmp_path: Path, strategy: str
) -> None:
    # H-08, H-09
    """Guards `seats.add_counts`, and counting what is held under the agents' locks."""
    ports = [free_port(), free_port()]
    database = await connect("routing")
    async with (
        reaching(world, ports) as (routing, _),
        a_process(world, 0, ports[0], tmp_path / "0.log"),
        a_process(world, 1, ports[1], tmp_path / "1.log"),
    ):
        await routing.set_up(agents=4, strategy=strategy)
        for agent in ("a01", "a02", "a03", "a04"):
            body = {"id": agent, "name": agent, "capacity": {"chat": 100}}
            await routing.call("PUT", f"/v1/agents/{agent}", body)
            await routing.sign_in(agent)
        await asyncio.gather(*(routing.tell("chat.started", f"c{n}") for n in range(58)))

        async def all_offered() -> bool | None:
            return await database.fetchval("select count(*) = 58 from offers") or None

        await until("all are offered", all_offered)
    counts = [r["n"] for r in await database.fetch("select count(*) as n from offers group by agent")]
    assert sorted(counts) == [14, 14, 15, 15]
