"""Credit for SMS, over HTTP and under load."""

import asyncio

from tests.notifications.stack import OPERATOR, Company, Stack, an_offline_message, until


async def balance(stack: Stack, company: Company) -> int:
    return int((await stack.http.get("/v1/credit", headers=company.auth)).json()["balance_fen"])


async def top_up(stack: Stack, company: Company, amount_fen: int, reference: str) -> tuple[int, dict[str, object]]:
    body = {"account": company.id, "amount_fen": amount_fen, "reference": reference}
    answer = await stack.http.post("/v1/credit/top-ups", json=body, headers=OPERATOR)
    return answer.status_code, answer.json()


async def test_an_account_opens_with_500_fen(shared: Stack) -> None:
    company = await shared.a_company()
    credit = (await shared.http.get("/v1/credit", headers=company.auth)).json()
    assert credit["balance_fen"] == 500
    assert [(e["reason"], e["amount_fen"], e["balance_fen"]) for e in credit["entries"]] == [("opening", 500, 500)]


async def test_a_top_up_is_booked_once_by_its_reference(shared: Stack) -> None:
    company, other = await shared.a_company(), await shared.a_company()
    first = await top_up(shared, company, 1000, "invoice-1")
    assert first == (200, {"account": company.id, "amount_fen": 1000, "reference": "invoice-1", "balance_fen": 1500})
    assert await top_up(shared, company, 1, "invoice-2") != first
    assert await top_up(shared, company, 1000, "invoice-1") == first
    assert (await top_up(shared, company, 999, "invoice-1"))[0] == 409
    assert (await top_up(shared, other, 1000, "invoice-1"))[0] == 200
    assert await balance(shared, company) == 1501


async def test_top_ups_at_the_same_time_are_booked_once(shared: Stack) -> None:
    company = await shared.a_company()
    answers = await asyncio.gather(*(top_up(shared, company, 100, "same") for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert await balance(shared, company) == 600


async def test_only_the_operator_tops_up_and_only_accounts_that_exist(shared: Stack) -> None:
    company = await shared.a_company()
    body = {"account": company.id, "amount_fen": 100, "reference": "r"}
    assert (await shared.http.post("/v1/credit/top-ups", json=body, headers=company.auth)).status_code == 403
    assert (await shared.http.post("/v1/credit/top-ups", json=body)).status_code == 401
    unknown = {**body, "account": "nobody"}
    assert (await shared.http.post("/v1/credit/top-ups", json=unknown, headers=OPERATOR)).status_code == 404
    for wrong in ({"amount_fen": 0}, {"amount_fen": -5}, {"reference": ""}, {"surplus": 1}):
        answer = await shared.http.post("/v1/credit/top-ups", json={**body, **wrong}, headers=OPERATOR)
        assert answer.status_code == 422, wrong
    assert await balance(shared, company) == 500


async def test_without_credit_sms_are_held_and_a_top_up_sends_them(shared: Stack) -> None:
    company = await shared.a_company()
    tickets = [await shared.want(an_offline_message(company.id)) for _ in range(103)]

    async def count(state: str) -> int:
        answer = await shared.http.get("/v1/messages", params={"state": state, "limit": 1000}, headers=company.auth)
        return sum(m["medium"] == "sms" for m in answer.json()["items"])

    async def all_ended() -> bool:
        return await count("sent") + await count("held") == len(tickets)

    await until(all_ended, 30)
    assert (await count("sent"), await count("held")) == (100, 3)
    assert await balance(shared, company) == 0
    held = (await shared.http.get("/v1/messages", params={"state": "held"}, headers=company.auth)).json()["items"]
    assert {m["reason"] for m in held} == {"no_credit"}
    events = await shared.deliveries(held[0]["id"], "kefu.message.held")
    assert events[-1]["data"]["reason"] == "no_credit"

    await top_up(shared, company, 1000, "more")

    async def all_sent() -> bool:
        return await count("sent") == len(tickets)

    await until(all_sent)
    assert await balance(shared, company) == 1000 - 3 * 5
    assert len(shared.sink.texts_to(company.phone)) == len(tickets)
    credit = (await shared.http.get("/v1/credit", params={"limit": 1000}, headers=company.auth)).json()
    assert sum(e["amount_fen"] for e in credit["entries"]) == credit["balance_fen"]


async def test_entries_are_listed_in_pages(shared: Stack) -> None:
    company = await shared.a_company()
    for number in range(4):
        await top_up(shared, company, number + 1, f"r{number}")
    seen: list[int] = []
    params: dict[str, str | int] = {"limit": 2}
    while True:
        page = (await shared.http.get("/v1/credit", params=params, headers=company.auth)).json()
        seen += [e["amount_fen"] for e in page["entries"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == [4, 3, 2, 1, 500]
