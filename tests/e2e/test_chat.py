"""A chat, from the widget to the agent and back (H-04, H-08, O-02)."""

from tests.e2e.kefu import Kefu, an_id, until


async def test_a_chat_reaches_an_agent_of_its_group_and_the_answer_reaches_the_visitor(kefu: Kefu) -> None:
    await kefu.sign_in("a05", "a01")
    interaction = an_id("chat")
    async with kefu.stream("outbound") as outbound, kefu.stream("tickets") as events:
        await kefu.post("/v1/chats", "chat.started", interaction, category="after-sale", contact={"name": "王芳"})
        await kefu.post("/v1/chats", "chat.message", interaction, data={"text": "烤箱坏了，怎么办？"})
        ticket = await kefu.ticket_in(interaction, "offered")
        offer = await kefu.offer_of(ticket)
        assert (ticket["group"], offer["agent"]) == ("after-sale", "a05")

        async def has_written() -> bool | None:
            said = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages")
            return [m["text"] for m in said["items"]] == ["烤箱坏了，怎么办？"] or None

        await until("the agent can read what the visitor wrote", has_written)
        taken = await kefu.accept(offer)
        assert (taken["status"], taken["handler"], taken["owner"]) == ("active", "a05", "a05")
        assigned = await outbound.first("chat.assigned", lambda e: e["type"] == "kefu.chat.assigned")
        assert (assigned["subject"], assigned["data"]["staff"]) == (interaction, "a05")

        await kefu.command(ticket, "reply", {"text": "您好，请把型号告诉我。"}, "a05")
        said = await outbound.first("chat.say", lambda e: e["type"] == "kefu.chat.say")
        assert (said["subject"], said["data"]["text"]) == (interaction, "您好，请把型号告诉我。")

        await kefu.command(ticket, "resolve", {"text": "已登记维修", "code": "repair"}, "a05")
        await outbound.first("chat.close", lambda e: e["type"] == "kefu.chat.close")
        resolved = await events.first("ticket.resolved", lambda e: e["type"] == "kefu.ticket.resolved")
        mine = [e for e in events.events if e["subject"] == ticket["id"]]
        assert [e["sequence"] for e in mine] == list(range(1, resolved["sequence"] + 1))
        assert "王芳" not in str(mine)

    messages = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages")
    assert [(m["from"], m["text"]) for m in messages["items"]] == [
        ("contact", "烤箱坏了，怎么办？"),
        ("agent", "您好，请把型号告诉我。"),
    ]
    history = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/history")
    offered = next(e for e in history["items"] if e["type"] == "kefu.ticket.offered")
    assert offered["why"]["chosen"] == "a05"
    assert offered["why"]["chosen"] in offered["why"]["candidates"]
    assert offered["why"]["ruled_out"] == {"a06": "signed_out", "a07": "signed_out", "a08": "signed_out"}
