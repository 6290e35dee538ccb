"""The whole service with a real Kafka and a real Postgres."""

import socket
from dataclasses import replace

import httpx
from pydantic import SecretStr

from kefu_common.events.words import Channel
from kefu_common.settings import DatabaseSettings
from kefu_reporting.app import create
from tests.reporting.builders import a_ticket, at
from tests.reporting.service import Service

ZERO = {"opened": 0, "offered": 0, "answered": 0, "abandoned": 0, "refused": 0, "resolved": 0, "messages_left": 0}
ZERO |= {"first_replies": 0}
NO_MEANS = {"wait_s": None, "first_reply_s": None, "handling_s": None}


async def a_reader(service: Service, account: str = "acme") -> None:
    await service.know(account, "account", account, short_name=account)
    await service.know_key(account, "reader", ["reports:read"])


async def test_a_report_counts_once_what_is_repeated_on_the_topic(service: Service) -> None:
    await a_reader(service)
    story = a_ticket().opened(at(1)).offered(at(1), "a01").assigned(at(1), "a01", 12.5).replied(at(1), "a01", 30)
    story.resolved(at(2), "a01", 600)
    closed = a_ticket(site="night", group=None, channel=Channel.CHAT).opened(at(3)).refused(at(3))
    await service.publish([*reversed(story.events), *story.events, *closed.events])
    async with service.running(batch_size=3):
        await service.until_all_read()
        await service.publish(story.events)
        await service.until_all_read()
        report = await service.client().daily()
        by_agent = await service.client().daily(by="agent", site="shop")

    night = {"site": "night", **ZERO, "opened": 1, "refused": 1, **NO_MEANS}
    counts = {**ZERO, "opened": 1, "offered": 1, "answered": 1, "resolved": 1, "first_replies": 1}
    means = {"wait_s": 12.5, "first_reply_s": 30.0, "handling_s": 600.0}
    assert report == {
        "period": "2026-11-23",
        "open": report["open"],
        "by": "site",
        "rows": [night, {"site": "shop", **counts, **means}],
        "totals": {**counts, "opened": 2, "refused": 1, **means},
    }
    assert by_agent["rows"] == [
        {"agent": None, **ZERO, "opened": 1, **NO_MEANS},
        {"agent": "a01", **counts, "opened": 0, **means},
    ]


async def test_a_restarted_service_goes_on_where_it_was(service: Service) -> None:
    await a_reader(service)
    story = a_ticket().opened(at(1)).offered(at(1), "a01")
    async with service.running():
        await service.publish(story.events)
        await service.until_all_read()
    await service.publish([*story.events, *story.assigned(at(1), "a01", 5).events])
    async with service.running():
        await service.until_all_read()
        totals = (await service.client().daily())["totals"]

    assert totals == {**ZERO, "opened": 1, "offered": 1, "answered": 1, **NO_MEANS, "wait_s": 5.0}


async def test_what_cannot_be_counted_is_set_aside_and_the_next_is_counted(service: Service) -> None:
    await a_reader(service)
    poison = a_ticket(time_zone="Asia/Nowhere").opened(at(1))
    nowhere = replace(a_ticket().opened(at(1)).events[0], sequence=None)
    good = a_ticket().opened(at(1))
    await service.publish_bytes([(str(good.ticket), b"{"), (str(good.ticket), b'{"specversion":"1.0"}')])
    await service.publish([*poison.events, nowhere, *good.events])
    async with service.running():
        await service.until_all_read()
        totals = (await service.client().daily())["totals"]
        letters = await service.dead_letters()

    reasons = sorted(dict(letter.headers)["kefu-reason"] for letter in letters)
    assert reasons == [b"failed", b"failed", b"not_an_event", b"not_json"]
    assert {letter.value for letter in letters} >= {poison.events[0].to_bytes(), nowhere.to_bytes(), b"{"}
    assert totals["opened"] == 1


async def test_no_account_sees_another(service: Service) -> None:
    for account in ("acme", "bolt"):
        await a_reader(service, account)
    acme = a_ticket("acme").opened(at(1))
    bolt = a_ticket("bolt", acme.ticket).opened(at(1)).offered(at(1), "a01")
    await service.publish([*acme.events, *bolt.events])
    async with service.running():
        await service.until_all_read()
        of_acme, of_bolt = await service.client("acme").daily(), await service.client("bolt").daily()

    assert (of_acme["totals"]["opened"], of_acme["totals"]["offered"]) == (1, 0)
    assert (of_bolt["totals"]["opened"], of_bolt["totals"]["offered"]) == (1, 1)


async def test_filters_narrow_and_one_that_matches_nothing_gives_zeros(service: Service) -> None:
    await a_reader(service)
    call = a_ticket().opened(at(1)).offered(at(1), "a01")
    chat = a_ticket(channel=Channel.CHAT, group="after-sale", kind="complaint", category=None).opened(at(1))
    await service.publish([*call.events, *chat.events])
    async with service.running():
        await service.until_all_read()
        ask = service.client().daily
        opened = {
            name: (await ask(**{name: value}))["totals"]["opened"]
            for name, value in [("site", "shop"), ("group", "after-sale"), ("channel", "call"), ("agent", "a01")]
        }
        offered = (await ask(agent="a01"))["totals"]["offered"]
        nothing = await ask(site="nowhere", group="x", agent="nobody")
        empty = await ask(site="", group="", channel="", agent="", by="")
        keys = {by: [row[by] for row in (await ask(by=by))["rows"]] for by in ("group", "channel", "category", "kind")}

    assert opened == {"site": 2, "group": 1, "channel": 1, "agent": 0}
    assert offered == 1
    assert (nothing["rows"], nothing["totals"]) == ([], {**ZERO, **NO_MEANS})
    assert (empty["by"], empty["totals"]["opened"]) == ("site", 2)
    assert keys == {
        "group": ["after-sale", "pre-sale"],
        "channel": ["call", "chat"],
        "category": [None, "pre-sale"],
        "kind": ["complaint", "consultation"],
    }


async def test_a_key_for_some_sites_sees_only_these(service: Service) -> None:
    await a_reader(service)
    await service.know_key("acme", "shop-only", ["reports:read"], ["shop"])
    await service.know_key("acme", "writer", ["calls:write"])
    await service.publish([*a_ticket().opened(at(1)).events, *a_ticket(site="night").opened(at(1)).events])
    async with service.running():
        await service.until_all_read()
        some = service.client(key="shop-only")
        seen = [row["site"] for row in (await some.daily())["rows"]]
        others = await some.get(site="night")
        writer = await service.client(key="writer").get()
        stranger = await service.client(key="stranger").get()

    assert seen == ["shop"]
    assert (others.status_code, writer.status_code, stranger.status_code) == (403, 403, 401)


async def test_wrong_parameters_are_named(service: Service) -> None:
    await a_reader(service)
    async with service.running():
        ask = service.client().get
        wrong = {
            "date": ["2026-13-01", "today", "1795392000", "2026-11-23T00:00:00"],
            "by": ["colour"],
            "channel": ["fax"],
            "colour": ["red"],
            "site": ["a\0b"],
        }
        answers = {(name, value): await ask(**{name: value}) for name, values in wrong.items() for value in values}
        unknown = await ask("/v1/reports/fortnightly")
        first, last = await ask(date="0001-01-01"), await ask(date="9999-12-31")

    for (name, _), answer in answers.items():
        assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (422, [name])
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/problem+json"
    assert (first.json()["open"], last.json()["open"]) == (False, True)


async def test_today_is_that_of_the_site_or_else_of_the_account(service: Service) -> None:
    await service.know("acme", "account", "acme", short_name="acme", time_zone="Pacific/Kiritimati")
    await service.know("acme", "site", "islet", name="islet", time_zone="Pacific/Niue")
    await service.know_key("acme", "reader", ["reports:read"])
    async with service.running():
        ask = service.client().get
        ours, islets = (await ask()).json(), (await ask(site="islet")).json()

    # 14 h before UTC and 11 h behind it: never the same day.
    assert ours["period"] > islets["period"]
    assert ours["open"] is islets["open"] is True


async def test_it_lives_and_says_why_it_cannot_work_while_everything_is_away() -> None:
    nobody = f"127.0.0.1:{_unused_port()}"
    app = create(DatabaseSettings(kafka=nobody, postgres=SecretStr(f"postgresql://kefu@{nobody}/kefu")))
    asking = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://reporting")
    async with app.router.lifespan_context(app), asking as http:
        alive, ready = await http.get("/healthz"), await http.get("/readyz")
        report = await http.get("/v1/reports/daily", headers={"authorization": "Bearer x"})

    assert (alive.status_code, ready.status_code, report.status_code) == (200, 503, 503)
    assert [reason.partition(":")[0] for reason in ready.json()["reasons"]] == ["database", "kafka", "directory"]
    assert "retry-after" in report.headers


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_openapi_describes_the_report(service: Service) -> None:
    async with service.running():
        assert service.http is not None
        document = (await service.http.get("/openapi.json")).json()

    row = document["components"]["schemas"]["Row"]["properties"]
    assert set(row) >= {*ZERO, *NO_MEANS, "site", "agent"}
    assert "/v1/reports/daily" in document["paths"]
