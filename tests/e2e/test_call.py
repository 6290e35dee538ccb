"""A call, from the switch to the agent's phone and back (K-01, K-02)."""

from tests.e2e.kefu import Json, Kefu, an_id, now


async def test_a_call_rings_an_agent_whose_answer_at_the_switch_is_the_accept(kefu: Kefu) -> None:
    await kefu.sign_in("a09")
    interaction = an_id("call")
    async with kefu.stream("outbound") as outbound:
        await kefu.post(
            "/v1/calls",
            "call.started",
            interaction,
            category="complaints",
            contact={"phone": "+8613800138001"},
            data={"from": "+8613800138001", "to": "4001234567"},
        )
        ring = await outbound.first("call.ring", lambda e: e["type"] == "kefu.call.ring")
        assert (ring["subject"], ring["data"]["agent"], ring["data"]["phone"]) == (interaction, "a09", "8009")
        assert ring["data"]["expires_at"] > now()

        await kefu.post("/v1/calls", "call.answered", interaction, data={"agent": "a09"})
        ticket = await kefu.ticket_in(interaction, "active")
        assert (ticket["handler"], ticket["owner"]) == ("a09", "a09")
        repeated = await kefu.accept({"offer": ring["data"]["offer"], "agent": "a09"})
        assert repeated["handler"] == "a09"

        await kefu.post("/v1/calls", "call.ended", interaction, data={"cause": "normal", "duration_s": 60})
        second = an_id("call")
        await kefu.post("/v1/calls", "call.started", second, category="complaints")
        await outbound.first(
            "the agent's hands are free for the next call",
            lambda e: e["type"] == "kefu.call.ring" and e["subject"] == second,
        )
        await kefu.post("/v1/calls", "call.ended", second, data={"cause": "hang_up"})
        cancel = await outbound.first("call.cancel", lambda e: e["type"] == "kefu.call.cancel")
        assert (cancel["subject"], cancel["data"]["agent"]) == (second, "a09")
    given_up = await kefu.ticket_in(second, "abandoned")
    assert given_up["reason"] == "hang_up"
    await kefu.command(ticket, "resolve", {"text": "已解答"}, "a09")


async def test_an_offer_that_nobody_answers_lapses_and_goes_to_the_next_agent(kefu: Kefu) -> None:
    plan = await kefu.call("routing", "GET", "/v1/plans/shop")
    await kefu.call("routing", "PUT", "/v1/plans/shop", {**plan, "offer_s": {"call": 1}})
    try:
        await kefu.sign_in("a09", "a10")
        interaction = an_id("call")
        async with kefu.stream("outbound") as outbound:
            await kefu.post("/v1/calls", "call.started", interaction, category="complaints")
            first = await outbound.first("a first ring", lambda e: e["type"] == "kefu.call.ring")
            second = await outbound.first("a ring at the other agent", lambda e: _rings_another(e, first))
        late = await kefu.accept({"offer": first["data"]["offer"], "agent": first["data"]["agent"]}, expect=409)
        assert late["status"] == 409
        foreign = await kefu.accept({"offer": second["data"]["offer"], "agent": first["data"]["agent"]}, expect=409)
        assert "another agent" in foreign["detail"]
    finally:
        await kefu.call("routing", "PUT", "/v1/plans/shop", plan)
        await kefu.post("/v1/calls", "call.ended", interaction)


def _rings_another(event: Json, first: Json) -> bool:
    return bool(event["type"] == "kefu.call.ring" and event["data"]["agent"] != first["data"]["agent"])
