"""E-mails and messages left: queued, answered, told to the administrators (O-03, O-04, O-06, H-08)."""

from tests.e2e.kefu import Json, Kefu, an_id, until


async def _in_the_sink(kefu: Kefu, channel: str, to: str, having: str) -> Json:
    async def probe() -> Json | None:
        answer = await kefu.http.get(f"{kefu.stack['sink']}/messages", params={"channel": channel, "to": to})
        found: list[Json] = [m for m in answer.json()["items"] if having in m["text"] or having in (m["subject"] or "")]
        return found[0] if found else None

    return await until(f"an {channel} to {to} that says {having!r}", probe, within_s=30)


async def test_an_email_is_answered_by_email_and_the_state_of_the_reply_comes_back(kefu: Kefu) -> None:
    await kefu.sign_in("a01")
    thread, sender = an_id("mail"), f"{an_id('c')}@example.com"
    await kefu.post(
        "/v1/emails",
        "email.received",
        thread,
        category="pre-sale",
        contact={"email": sender, "name": "李雷"},
        data={"subject": "烤箱有货吗", "text": "请问X200有货吗？"},
    )
    ticket = await kefu.ticket_in(thread, "offered")
    await kefu.accept(await kefu.offer_of(ticket))
    await kefu.command(ticket, "reply", {"text": "有货，今天可以发出。"}, "a01")
    mail = await _in_the_sink(kefu, "email", sender, "有货，今天可以发出。")
    assert "烤箱有货吗" in mail["subject"]
    assert "小店" in mail["text"]

    async def sent() -> bool | None:
        messages = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages")
        return messages["items"][-1]["state"] == "sent" or None

    await until("routing knows that the reply was sent", sent)
    follow_up = an_id("mail")
    await kefu.post("/v1/emails", "email.received", follow_up, contact={"email": sender}, data={"text": "谢谢！"})
    joined = await kefu.ticket_of(follow_up)
    assert joined["id"] == ticket["id"]
    await kefu.command(ticket, "resolve", {"text": "已答复"}, "a01")


async def test_a_message_left_on_a_closed_site_reaches_the_administrator_by_email_and_sms(kefu: Kefu) -> None:
    text = f"请回电，订单{an_id('o')}有问题"
    interaction = an_id("msg")
    contact = {"name": "韩梅梅", "phone": "+8613900139000"}
    await kefu.post("/v1/messages", "message.left", interaction, site="night", contact=contact, data={"text": text})
    ticket = await kefu.ticket_in(interaction, "queued")
    mail = await _in_the_sink(kefu, "email", "admin@shop.example", text)
    assert "韩梅梅" in mail["text"]
    assert "+8613900139000" in mail["text"]
    sms = await _in_the_sink(kefu, "sms", "+8613800138000", text[:10])
    assert sms["text"].startswith("【小店】")

    async def both_sent() -> bool | None:
        messages = await kefu.call("notifications", "GET", f"/v1/messages?ticket={ticket['id']}")
        return sorted(m["state"] for m in messages["items"]) == ["sent", "sent"] or None

    await until("notifications says that both were sent", both_sent)


async def test_a_message_left_on_an_open_site_is_told_too_and_the_answer_goes_by_sms_without_an_address(
    kefu: Kefu,
) -> None:
    await kefu.sign_in("a01")
    text, phone = f"几点关门？{an_id('q')}", "+8613700137000"
    interaction = an_id("msg")
    await kefu.post("/v1/messages", "message.left", interaction, contact={"phone": phone}, data={"text": text})
    await _in_the_sink(kefu, "email", "admin@shop.example", text)
    ticket = await kefu.ticket_in(interaction, "offered")
    await kefu.accept(await kefu.offer_of(ticket))
    await kefu.command(ticket, "reply", {"text": "晚上九点。"}, "a01")
    sms = await _in_the_sink(kefu, "sms", phone, "晚上九点。")
    assert sms["text"].startswith("【小店】")
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")


async def test_a_closed_site_refuses_a_chat_with_the_offline_text(kefu: Kefu) -> None:
    interaction = an_id("chat")
    async with kefu.stream("outbound") as outbound:
        await kefu.post("/v1/chats", "chat.started", interaction, site="night")
        refused = await outbound.first("chat.refused", lambda e: e["type"] == "kefu.chat.refused")
    assert refused["data"]["reason"] == "closed"
    assert "请留言" in refused["data"]["text"]
    assert (await kefu.ticket_of(interaction))["status"] == "refused"
    availability = await kefu.call("routing", "GET", "/v1/sites/night/availability")
    assert (availability["open"], availability["online"]) == (False, False)
    assert "请留言" in availability["text"]


async def test_what_waits_is_offered_as_soon_as_an_agent_comes_on(kefu: Kefu) -> None:
    interaction = an_id("chat")
    await kefu.post("/v1/chats", "chat.started", interaction, category="after-sale")
    ticket = await kefu.ticket_in(interaction, "queued")
    await kefu.sign_in("a06")
    offer = await kefu.offer_of(ticket, within_s=5)
    assert offer["agent"] == "a06"
    await kefu.call("routing", "POST", f"/v1/offers/{offer['offer']}/decline", {"reason": "在开会"}, agent="a06")
    await kefu.ticket_in(interaction, "queued")
    claimed = await kefu.command(ticket, "claim", {}, "a06")
    assert claimed["handler"] == "a06"
    await kefu.post("/v1/chats", "chat.ended", interaction)
    await kefu.command(ticket, "resolve", {"text": ""}, "a06")
