"""Links to new passwords (D-12): only the agent's mailbox ever sees one."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from cryptography.fernet import Fernet

from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Medium, Occasion
from kefu_common.postgres.database import Database
from kefu_common.sealing import Sealer
from kefu_notifications.domain.planning import Reason, Recipients, is_too_old, plan
from kefu_notifications.domain.texts import LINK
from kefu_notifications.handlers import janitor
from tests.conftest import SEALING_KEY
from tests.e2e.traces import collecting
from tests.notifications.stack import Company, Stack, a_reset, free_port, until

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
TOKEN = "q7Zt-hV0ySecretOfTheLink_4kM"
PAGE = f"https://kefu.example/new-password?token={TOKEN}"
SEALED = Sealer([SEALING_KEY]).seal(PAGE)
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def the_message(stack: Stack, company: Company, state: str) -> dict[str, Any]:
    """The account's one message, once it is in the state."""

    async def look() -> list[dict[str, Any]]:
        answer = await stack.http.get("/v1/messages", params={"state": state}, headers=company.auth)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    (message,) = await until(look)
    return message


async def want(stack: Stack, company: Company, sealed: str = SEALED, **more: Any) -> None:
    event = a_reset(company.id, sealed, **more)
    await stack.publish_wanted(event)


def a01(company: Company) -> str:
    return f"a01@{company.id}.example"


# Rules


def test_a_reset_is_told_by_one_mail_in_words_without_what_was_sealed() -> None:
    wanted = MessageWanted(occasion=Occasion.PASSWORD_RESET, agent="a01", text=SEALED)
    (intent,) = plan(wanted, Recipients(["a@example.com", "b@example.com"], ["138"]), NOW, NOW)
    assert (intent.medium, intent.to, intent.failure) == (Medium.EMAIL, "a@example.com", None)
    assert intent.wording.body.count(LINK) == 1
    assert SEALED not in intent.wording.body
    assert "新密码" in intent.wording.body
    assert "new password" in intent.wording.body


def test_a_link_is_too_old_after_half_an_hour_even_for_who_insists() -> None:
    asked_at = NOW - timedelta(minutes=30)
    for is_forced in (False, True):
        assert not is_too_old(Occasion.PASSWORD_RESET, asked_at, NOW, is_forced=is_forced)
        assert is_too_old(Occasion.PASSWORD_RESET, asked_at - timedelta(seconds=1), NOW, is_forced=is_forced)
    assert not is_too_old(Occasion.REPLY, NOW - timedelta(days=9), NOW, is_forced=True)


def test_a_reset_for_nobody_is_seen_to_have_failed() -> None:
    (intent,) = plan(MessageWanted(occasion=Occasion.PASSWORD_RESET, text=SEALED), Recipients(), NOW, NOW)
    assert (intent.to, intent.failure) == (None, Reason.NO_RECIPIENT)


# The service


async def test_the_link_reaches_the_agent_and_nobody_else(shared: Stack) -> None:
    company = await shared.a_company("小店")
    chosen = {"recipients": {"emails": [f"boss@{company.id}.example"], "phones": []}}
    assert (await shared.http.put("/v1/settings", json=chosen, headers=company.auth)).status_code == 200
    await want(shared, company)
    message = await the_message(shared, company, "sent")
    assert (message["to"], message["ticket"], message["agent"]) == (a01(company), None, "a01")
    assert (message["occasion"], message["site"]) == ("password_reset", "")
    (mail,) = shared.sink.mails_to(a01(company))
    assert mail.mail["Subject"] == "【小店】重设密码 / Set a new password"
    assert mail.mail["Auto-Submitted"] == "auto-generated"
    (line,) = [line for line in mail.text.splitlines() if line.startswith("https://")]
    assert line == PAGE
    assert [m.to for m in shared.sink.mails if company.id in m.to] == [a01(company)]


async def test_nothing_else_shows_the_link_or_what_was_sealed(own: Callable[..., Awaitable[Stack]]) -> None:
    async with collecting(free_port()) as spans:
        stack = await own(OTEL_EXPORTER_OTLP_ENDPOINT=spans.url)
        company = await stack.a_company()
        stack.sink.answer_mail[a01(company)] = lambda attempt: "451 4.3.0 later" if attempt < 2 else None
        event = replace(a_reset(company.id, SEALED), traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
        await stack.publish_wanted(event)
        message = await the_message(stack, company, "sent")
        one = await stack.http.get(f"/v1/messages/{message['id']}", headers=company.auth)
        deliveries = await stack.deliveries(message["id"], "kefu.message.sent")
        metrics = (await stack.http.get("/metrics")).text

        async def are_there() -> bool:
            return len([s for s in spans.of_trace(TRACE) if s["name"].startswith("send email")]) == 2

        await until(are_there)
        shown = [json.dumps(message), one.text, json.dumps(deliveries), metrics, repr(spans.spans)]
    assert {d["source"] for d in deliveries} == {"/people"}
    assert "ticket" not in deliveries[0]["data"]
    assert LINK in message["text"]
    kept = await in_the_database(stack)
    assert SEALED in kept
    for said in (*shown, stack.process.log.read_text()):
        assert SEALED not in said
        assert TOKEN not in said
    assert TOKEN not in kept


async def test_what_is_over_is_forgotten(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    await want(stack, company)
    await the_message(stack, company, "sent")
    db = Database(stack.world.dsns["notifications"], 1, "test")
    await db.start()
    try:
        await janitor.clean_up(db)
        assert SEALED in await in_the_database(stack)
        await db.pool.execute("update messages set happened_at = happened_at - interval '61 minutes'")
        await janitor.clean_up(db)
        assert SEALED not in await in_the_database(stack)
    finally:
        await db.stop()


@pytest.mark.parametrize("agent", [None, {"id": "a01", "name": "坐席"}])
async def test_an_agent_without_an_address_is_recorded(shared: Stack, agent: dict[str, Any] | None) -> None:
    company = await shared.a_company()
    await shared.directory(company.id, "agent", "a01", agent)
    await shared.a_key(company, "later", ["messages:read"])  # in force, and so is the change before it
    await want(shared, company)
    message = await the_message(shared, company, "failed")
    assert (message["reason"], message["to"], message["agent"]) == ("no_recipient", None, "a01")
    answer = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
    assert answer.status_code == 409


async def test_a_reset_that_is_too_old_is_not_sent_whoever_asks(shared: Stack) -> None:
    company = await shared.a_company()
    await want(shared, company, time=datetime.now(UTC) - timedelta(minutes=31))
    message = await the_message(shared, company, "failed")
    assert message["reason"] == "too_old"
    answer = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
    assert (answer.status_code, answer.json()["possible"]) == (409, [])
    assert "ask for another" in answer.json()["detail"]
    assert not shared.sink.mails_to(a01(company))


async def test_one_that_was_rejected_can_be_retried_while_its_link_is_good(shared: Stack) -> None:
    company = await shared.a_company()
    rejecting = True
    shared.sink.answer_mail[a01(company)] = lambda attempt: "550 5.1.1 nobody" if rejecting else None
    await want(shared, company)
    message = await the_message(shared, company, "failed")
    assert message["reason"] == "rejected"
    rejecting = False
    answer = await shared.http.post(f"/v1/messages/{message['id']}/retry", headers=company.auth)
    assert (answer.status_code, answer.json()["state"]) == (200, "planned")
    await the_message(shared, company, "sent")
    (mail,) = shared.sink.mails_to(a01(company))
    assert PAGE in mail.text


async def test_a_key_of_one_site_sees_no_resets(shared: Stack) -> None:
    company = await shared.a_company()
    key = await shared.a_key(company, "shop", ["messages:read"], sites=["shop"])
    await want(shared, company)
    message = await the_message(shared, company, "sent")
    assert (await shared.http.get("/v1/messages", headers=key)).json()["items"] == []
    assert (await shared.http.get(f"/v1/messages/{message['id']}", headers=key)).status_code == 404


async def test_what_cannot_be_opened_waits_for_the_right_keys(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own(KEFU_SEALING_KEYS=Fernet.generate_key().decode())
    company = await stack.a_company()
    await want(stack, company)

    async def was_tried_twice() -> bool:
        return await stack.metric('kefu_sends_total{provider="email",result="retry"}') >= 2

    await until(was_tried_twice)
    assert not stack.sink.mails
    assert '"link_not_opened"' in stack.process.log.read_text()
    await stack.process.stop()
    stack.process.env["KEFU_SEALING_KEYS"] = SEALING_KEY
    await stack.process.start()
    await the_message(stack, company, "sent")
    (mail,) = stack.sink.mails_to(a01(company))
    assert PAGE in mail.text


async def in_the_database(stack: Stack) -> str:
    connection = await asyncpg.connect(stack.world.dsns["notifications"])
    try:
        rows = await connection.fetch("select row_to_json(m)::text as row from messages m")
        return "\n".join(row["row"] for row in rows)
    finally:
        await connection.close()
