"""What is killed, slow or away, and what people get all the same."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from tests.notifications.stack import Process, Stack, an_offline_message, free_port, until

DUPLICATES = 'kefu_possible_duplicates_total{provider="email"}'


async def end_leases(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.world.dsns["notifications"])
    try:
        await connection.execute("update messages set due_at = now() where state = 'sending'")
    finally:
        await connection.close()


async def test_a_kill_in_the_middle_of_a_send_repeats_it_and_counts_it(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    stack.sink.hang(company.email)
    ticket = await stack.want(an_offline_message(company.id))

    async def was_taken() -> bool:
        return bool(stack.sink.mails_to(company.email))

    await until(was_taken)
    await stack.message(company, ticket, medium="sms", state="sent")
    await stack.process.kill()
    stack.sink.release()
    await stack.process.start()
    assert await stack.metric(DUPLICATES) == 0
    assert (await stack.messages(company, ticket, medium="email"))[0]["state"] == "sending"
    await end_leases(stack)
    message = await stack.message(company, ticket, medium="email", state="sent")
    assert message["attempts"] == 2
    assert await stack.metric(DUPLICATES) == 1
    first, second = stack.sink.mails_to(company.email)
    assert first.mail["Message-ID"] == second.mail["Message-ID"]
    assert len(stack.sink.texts_to(company.phone)) == 1


async def test_a_result_that_comes_after_the_lease_ended_changes_nothing(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    company = await stack.a_company()
    stack.sink.hang(company.phone)
    stack.sink.answer_sms[company.phone] = lambda attempt: (429, {"Retry-After": "600"}) if attempt == 2 else None
    ticket = await stack.want(an_offline_message(company.id))

    async def was_taken() -> bool:
        return bool(stack.sink.texts_to(company.phone))

    await until(was_taken)
    await end_leases(stack)

    async def waits_for_a_third_attempt() -> bool:
        (sms,) = await stack.messages(company, ticket, medium="sms")
        return sms["attempts"] == 2 and await stack.metric('kefu_sends_total{provider="sms",result="retry"}') == 1

    await until(waits_for_a_third_attempt)
    # The first attempt's "accepted" arrives now, and is recorded before that of a later message.
    stack.sink.release()
    later = await stack.want(an_offline_message(company.id))
    await stack.message(company, later, medium="sms", state="sent")
    assert await stack.metric('kefu_sends_total{provider="sms",result="sent"}') == 2
    (sms,) = await stack.messages(company, ticket, medium="sms")
    assert sms["state"] == "sending"


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(
    own: Callable[..., Awaitable[Stack]],
) -> None:
    requests: list[bytes] = []

    async def lose_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        await reader.readexactly(int(length))
        requests.append(head)
        if len(requests) > 1:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(lose_the_first, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stack = await own(KEFU_SMS_URL=f"http://127.0.0.1:{port}/sms")
    company = await stack.a_company()
    ticket = await stack.want(an_offline_message(company.id))
    message = await stack.message(company, ticket, medium="sms", state="sent")
    server.close()
    assert len(requests) == 2
    assert all(f"idempotency-key: {message['id']}".encode() in head.lower() for head in requests)
    assert await stack.metric('kefu_possible_duplicates_total{provider="sms"}') == 1


async def test_a_provider_that_is_away_is_no_possible_duplicate(own: Callable[..., Awaitable[Stack]]) -> None:
    closed = free_port()
    stack = await own(KEFU_SMS_URL=f"http://127.0.0.1:{closed}/sms", KEFU_SMTP=f"127.0.0.1:{closed}")
    company = await stack.a_company()
    ticket = await stack.want(an_offline_message(company.id))

    async def were_tried_thrice() -> bool:
        found = await stack.messages(company, ticket)
        return len(found) == 2 and all(m["attempts"] >= 3 for m in found)

    await until(were_tried_thrice)
    assert {m["state"] for m in await stack.messages(company, ticket)} == {"sending"}
    assert await stack.metric('kefu_possible_duplicates_total{provider="sms"}') == 0
    assert await stack.metric(DUPLICATES) == 0


async def test_two_processes_send_each_message_once_and_overdraw_nothing(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    second = Process({**stack.process.env, "KEFU_SLOT": "1"}, free_port(), stack.process.log.with_suffix(".second"))
    await second.start()
    company = await stack.a_company()
    tickets = [await stack.want(an_offline_message(company.id)) for _ in range(120)]

    async def all_ended() -> bool:
        answer = await stack.http.get("/v1/messages", params={"limit": 1000}, headers=company.auth)
        states = [m["state"] for m in answer.json()["items"]]
        return len(states) == 240 and not {"planned", "sending"} & set(states)

    await until(all_ended, 30)
    assert await second.stop() == 0
    assert len(stack.sink.mails_to(company.email)) == len(tickets)
    assert len(stack.sink.texts_to(company.phone)) == 100
    assert (await stack.http.get("/v1/credit", headers=company.auth)).json()["balance_fen"] == 0


async def test_a_mail_server_that_hangs_delays_no_sms(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own(KEFU_SENDS_AT_ONCE="2")
    company = await stack.a_company()
    stack.sink.hang(company.email)
    tickets = [await stack.want(an_offline_message(company.id)) for _ in range(10)]
    for ticket in tickets:
        await stack.message(company, ticket, medium="sms", state="sent")
    assert len(stack.sink.mails_to(company.email)) == 2


async def test_the_service_answers_without_postgres_and_kafka(own: Callable[..., Awaitable[Stack]]) -> None:
    stack = await own()
    await stack.process.stop()
    working = dict(stack.process.env)
    stack.process.env |= {"KEFU_KAFKA": "127.0.0.1:9", "KEFU_POSTGRES": "postgresql://nobody@127.0.0.1:9/none"}
    await stack.process.start(ready=False)
    answer = await stack.http.get("/readyz")
    assert answer.status_code == 503
    assert any("postgres" in reason for reason in answer.json()["reasons"])
    answer = await stack.http.get("/v1/messages", headers={"Authorization": "Bearer any"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert await stack.process.stop() == 0
    stack.process.env = working


async def test_it_is_small_and_says_no_personal_data(shared: Stack) -> None:
    company = await shared.a_company()
    shared.sink.answer_mail[company.email] = lambda attempt: "451 later" if attempt < 2 else None
    ticket = await shared.want(an_offline_message(company.id, "秘密的留言"))
    await shared.message(company, ticket, medium="email", state="sent")
    assert shared.process.resident_kb() < 150 * 1024
    said = shared.process.log.read_text() + (await shared.http.get("/metrics")).text
    for secret in (company.email, company.phone, "王芳", "秘密的留言", "13800138000", company.key):
        assert secret not in said
