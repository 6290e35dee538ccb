"""The day's report counts everything once (H-02, H-10)."""

from datetime import datetime
from zoneinfo import ZoneInfo

from tests.e2e.kefu import Json, Kefu, an_id, until

COUNTS = ("opened", "offered", "answered", "abandoned", "refused", "resolved", "messages_left", "first_replies")


async def _report(kefu: Kefu, **filters: str) -> Json:
    day = datetime.now(ZoneInfo("Asia/Shanghai")).date().isoformat()
    query = "&".join(f"{name}={value}" for name, value in {"date": day, **filters}.items())
    return await kefu.call("reporting", "GET", f"/v1/reports/daily?{query}")


async def _settled(kefu: Kefu) -> None:
    """Everything that earlier stories caused is counted: as many tickets were opened and abandoned as routing has."""

    async def probe() -> bool | None:
        totals = (await _report(kefu))["totals"]
        listed = (await kefu.call("routing", "GET", "/v1/tickets?limit=1000"))["items"]
        abandoned = sum(ticket["status"] == "abandoned" for ticket in listed)
        return (len(listed) == totals["opened"] and abandoned <= totals["abandoned"]) or None

    await until("the report has counted what was before", probe)


async def test_the_days_report_counts_each_thing_once(kefu: Kefu) -> None:
    await kefu.sign_in("a05")
    await _settled(kefu)
    before = await _report(kefu, site="shop", channel="chat")
    by_agent_before = await _report(kefu, by="agent", channel="chat", site="shop")
    chats = [an_id("chat") for _ in range(3)]
    for interaction in chats:
        await kefu.post("/v1/chats", "chat.started", interaction, category="after-sale")
    event = {"id": an_id("e"), "type": "chat.message", "site": "shop", "interaction": chats[0]}
    said = {**event, "occurred_at": datetime.now(ZoneInfo("UTC")).isoformat(), "data": {"text": "在吗"}}
    for _ in range(3):
        assert (await kefu.post_raw("/v1/chats", said)).status_code == 202
    tickets = [await kefu.ticket_in(c, "offered") for c in chats[:2]]
    for ticket in tickets:
        await kefu.accept(await kefu.offer_of(ticket))
        await kefu.command(ticket, "reply", {"text": "在的"}, "a05")
    await kefu.command(tickets[0], "resolve", {"text": "好"}, "a05")
    await kefu.post("/v1/chats", "chat.ended", chats[2])
    await kefu.ticket_in(chats[2], "abandoned")

    expected = {"opened": 3, "offered": 3, "answered": 2, "abandoned": 1, "resolved": 1, "first_replies": 2}

    async def counted() -> Json | None:
        after = await _report(kefu, site="shop", channel="chat")
        grown = {name: after["totals"][name] - before["totals"][name] for name in COUNTS}
        return after if grown == {name: expected.get(name, 0) for name in COUNTS} else None

    after = await until(f"the report grew by exactly {expected}", counted)
    assert after["open"] is True
    assert after["rows"][0]["site"] == "shop"
    assert after["totals"]["wait_s"] is not None
    by_agent = await _report(kefu, by="agent", channel="chat", site="shop")
    mine = {row["agent"]: row for row in by_agent["rows"]}
    earlier = {row["agent"]: row for row in by_agent_before["rows"]}
    answered_before = earlier.get("a05", {"answered": 0})["answered"]
    assert mine["a05"]["answered"] - answered_before == 2
    await kefu.command(tickets[1], "resolve", {"text": ""}, "a05")


async def test_filters_that_match_nothing_give_zeros_and_wrong_ones_are_told(kefu: Kefu) -> None:
    nothing = await _report(kefu, site="shop", agent="nobody")
    assert all(nothing["totals"][name] == 0 for name in COUNTS)
    wrong = await kefu.call("reporting", "GET", "/v1/reports/daily?date=yesterday&by=moon&x=1", expect=422)
    assert {e["path"] for e in wrong["errors"]} == {"date", "by", "x"}
