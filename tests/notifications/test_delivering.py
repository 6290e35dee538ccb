"""Messages to people, with the real service between a real Kafka and providers that answer as told."""

from datetime import UTC, datetime, timedelta

from kefu_common.events.messages import ContactAddress
from tests.notifications.stack import Stack, a_reply, an_offline_message, until


async def test_an_offline_message_reaches_the_administrator_by_email_and_sms(shared: Stack) -> None:
    company = await shared.a_company("小店")
    ticket = await shared.want(an_offline_message(company.id, "烤箱坏了"))
    email = await shared.message(company, ticket, medium="email", state="sent")
    sms = await shared.message(company, ticket, medium="sms", state="sent")
    (mail,) = shared.sink.mails_to(company.email)
    assert mail.mail["Subject"] == "【小店】新的离线留言"
    assert mail.mail["Message-ID"].startswith(f"<{email['id']}@")
    assert "王芳 给您留言" in mail.text
    assert "烤箱坏了" in mail.text
    assert str(ticket) in mail.text
    (text,) = shared.sink.texts_to(company.phone)
    assert text.text == "【小店】王芳 留言：烤箱坏了 回电 13800138000"
    assert text.key == text.id == sms["id"]
    assert (sms["segments"], sms["cost_fen"], sms["provider_id"]) == (1, 5, f"provider-{sms['id']}")
    assert not shared.sink.mails_to(f"a01@{company.id}.example")


async def test_the_same_event_twice_is_told_once(shared: Stack) -> None:
    company = await shared.a_company()
    event = an_offline_message(company.id)
    await shared.want(event)
    ticket = await shared.want(event)
    # A later event of the same key: when it is through, so is the repeat.
    await shared.want(an_offline_message(company.id, "又来了", ticket=ticket))

    async def second_is_sent() -> bool:
        return len(await shared.messages(company, ticket, state="sent")) == 4

    await until(second_is_sent)
    assert len(shared.sink.mails_to(company.email)) == 2


async def test_a_reply_goes_to_the_contact_signed(shared: Stack) -> None:
    company = await shared.a_company("小店")
    event = a_reply(company.id, ContactAddress(email="w@example.com", phone="13900139000"), "明天上门", "烤箱")
    event = event.traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    ticket = await shared.want(event)
    message = await shared.message(company, ticket, state="sent")
    (mail,) = [m for m in shared.sink.mails_to("w@example.com") if message["id"] in m.mail["Message-ID"]]
    assert mail.mail["Subject"] == "Re: 烤箱"
    assert mail.text == "明天上门\n\n—— 小店"
    events = await shared.deliveries(message["id"], "kefu.message.sent")
    assert [e["type"] for e in events] == ["kefu.message.planned", "kefu.message.sent"]
    assert {e["traceparent"] for e in events} == {event.traceparent}
    sent = events[-1]["data"]
    assert (sent["reply"], sent["agent"], sent["medium"]) == (str(event.data.message), "a01", "email")
    assert "w@example.com" not in str(events)
    assert "明天上门" not in str(events)


async def test_a_reply_without_an_email_address_goes_by_sms(shared: Stack) -> None:
    company = await shared.a_company("小店")
    ticket = await shared.want(a_reply(company.id, ContactAddress(phone="+86 139-0013-9001")))
    await shared.message(company, ticket, medium="sms", state="sent")
    assert [t.text for t in shared.sink.texts_to("+8613900139001")] == ["【小店】明天上门"]


async def test_an_error_that_passes_is_tried_again(shared: Stack) -> None:
    company = await shared.a_company()
    shared.sink.answer_mail[company.email] = lambda attempt: "451 4.3.0 later" if attempt < 3 else None
    shared.sink.answer_sms[company.phone] = lambda attempt: (500, {}) if attempt < 3 else None
    ticket = await shared.want(an_offline_message(company.id))
    for medium in ("email", "sms"):
        message = await shared.message(company, ticket, medium=medium, state="sent")
        assert message["attempts"] == 3
    assert len(shared.sink.mails_to(company.email)) == 1
    assert len(shared.sink.texts_to(company.phone)) == 1


async def test_retry_after_is_obeyed(shared: Stack) -> None:
    company = await shared.a_company()
    shared.sink.answer_sms[company.phone] = lambda attempt: (429, {"Retry-After": "600"})
    ticket = await shared.want(an_offline_message(company.id))

    async def waits_long() -> bool:
        (sms,) = await shared.messages(company, ticket, medium="sms") or [{"state": "planned"}]
        if sms["state"] != "sending":
            return False
        return datetime.fromisoformat(sms["next_attempt_at"]) > datetime.now(UTC) + timedelta(seconds=500)

    await until(waits_long)
    assert shared.sink.attempts.count(company.phone) == 1


async def test_what_a_provider_rejects_fails_and_can_be_retried_by_hand(shared: Stack) -> None:
    company = await shared.a_company()
    rejecting = True
    shared.sink.answer_mail[company.email] = lambda attempt: "550 5.1.1 nobody" if rejecting else None
    shared.sink.answer_sms[company.phone] = lambda attempt: (400, {}) if rejecting else None
    ticket = await shared.want(an_offline_message(company.id))
    for medium in ("email", "sms"):
        message = await shared.message(company, ticket, medium=medium, state="failed", reason="rejected")
        assert message["attempts"] == 1
        events = await shared.deliveries(message["id"], "kefu.message.failed")
        assert events[-1]["data"]["reason"] == "rejected"
    rejecting = False
    for medium in ("email", "sms"):
        (message,) = await shared.messages(company, ticket, medium=medium)
        answer = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
        assert (answer.status_code, answer.json()["state"]) == (200, "planned")
        await shared.message(company, ticket, medium=medium, state="sent")
        again = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
        assert (again.status_code, again.json()["possible"]) == (409, [])
    credit = (await shared.http.get("/v1/credit", headers=company.auth)).json()
    assert credit["balance_fen"] == 495


async def test_what_is_too_old_is_not_sent_unless_told_to(shared: Stack) -> None:
    company = await shared.a_company()
    old = datetime.now(UTC) - timedelta(days=3, minutes=1)
    ticket = await shared.want(an_offline_message(company.id, time=old))
    message = await shared.message(company, ticket, medium="email", state="failed", reason="too_old")
    assert not shared.sink.mails_to(company.email)
    await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
    await shared.message(company, ticket, medium="email", state="sent")
    assert len(shared.sink.mails_to(company.email)) == 1


async def test_nobody_to_tell_is_recorded(shared: Stack) -> None:
    company = await shared.a_company()
    await shared.directory(company.id, "agent", "admin", None)
    await shared.a_key(company, "later", ["messages:read"])  # in force, and so is the deletion before it
    ticket = await shared.want(an_offline_message(company.id))
    message = await shared.message(company, ticket, state="failed", reason="no_recipient")
    assert message["to"] is None
    answer = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
    assert answer.status_code == 409


async def test_recipients_of_the_settings_replace_the_administrators(shared: Stack) -> None:
    company = await shared.a_company()
    chosen = {"recipients": {"emails": [f"boss@{company.id}.example"], "phones": []}, "signature": None}
    answer = await shared.http.put("/v1/settings", json=chosen, headers=company.auth)
    assert answer.json() == chosen
    ticket = await shared.want(an_offline_message(company.id))
    message = await shared.message(company, ticket, state="sent")
    assert message["to"] == f"boss@{company.id}.example"
    assert not shared.sink.mails_to(company.email)


async def test_a_sms_without_a_signature_is_held_until_there_is_one(shared: Stack) -> None:
    company = await shared.a_company("小店", signature="")
    ticket = await shared.want(an_offline_message(company.id))
    message = await shared.message(company, ticket, medium="sms", state="held", reason="no_signature")
    assert (await shared.deliveries(message["id"], "kefu.message.held"))[-1]["data"]["reason"] == "no_signature"
    await shared.message(company, ticket, medium="email", state="sent")
    assert shared.sink.mails_to(company.email)[0].mail["Subject"] == "新的离线留言"
    await shared.http.put("/v1/settings", json={"signature": "大店"}, headers=company.auth)
    await shared.message(company, ticket, medium="sms", state="sent")
    assert shared.sink.texts_to(company.phone)[0].text.startswith("【大店】王芳")


async def test_a_hostile_subject_adds_no_header_and_a_hostile_address_no_recipient(shared: Stack) -> None:
    company = await shared.a_company()
    hostile = a_reply(company.id, ContactAddress(email="x@example.com"), "好", "烤箱\r\nBcc: victim@example.com")
    ticket = await shared.want(hostile)
    await shared.message(company, ticket, state="sent")
    (mail,) = shared.sink.mails_to("x@example.com")
    assert mail.mail["Bcc"] is None
    assert mail.mail["Subject"] == "Re: 烤箱 Bcc: victim@example.com"
    for address in ("x@example.com, victim@example.com", "x@example.com>\r\nRCPT TO:<victim@example.com"):
        ticket = await shared.want(a_reply(company.id, ContactAddress(email=address)))
        await shared.message(company, ticket, state="failed", reason="bad_address")
    assert not shared.sink.mails_to("victim@example.com")


async def test_another_account_sees_nothing(shared: Stack) -> None:
    company, other = await shared.a_company(), await shared.a_company()
    ticket = await shared.want(an_offline_message(company.id))
    message = await shared.message(company, ticket, medium="email", state="sent")
    assert await shared.messages(other, ticket) == []
    assert (await shared.http.get(f"/v1/messages/{message['id']}", headers=other.auth)).status_code == 404
    assert (await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=other.auth)).status_code == 404
    assert (await shared.http.get(f"/v1/messages/{message['id']}", headers=company.auth)).status_code == 200


async def test_a_key_of_one_site_sees_only_its_messages(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "night", ["messages:read"], sites=["night"])
    ticket = await shared.want(an_offline_message(company.id))
    message = await shared.message(company, ticket, medium="email", state="sent")
    assert (await shared.http.get("/v1/messages", headers=key)).json()["items"] == []
    assert (await shared.http.get(f"/v1/messages/{message['id']}", headers=key)).status_code == 404
