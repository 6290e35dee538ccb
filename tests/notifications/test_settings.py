"""`/v1/settings` and what is common to all paths."""

import pytest

from tests.notifications.stack import Stack


async def test_unset_settings_are_null(shared: Stack) -> None:
    company = await shared.a_company()
    answer = await shared.http.get("/v1/settings", headers=company.auth)
    assert answer.json() == {"recipients": None, "signature": None}
    assert answer.headers["etag"]


async def test_the_loser_of_a_race_gets_412(shared: Stack) -> None:
    company = await shared.a_company()
    tag = (await shared.http.get("/v1/settings", headers=company.auth)).headers["etag"]
    headers = {**company.auth, "If-Match": tag}
    first = await shared.http.put("/v1/settings", json={"signature": "甲"}, headers=headers)
    second = await shared.http.put("/v1/settings", json={"signature": "乙"}, headers=headers)
    assert (first.status_code, second.status_code) == (200, 412)
    unconditional = await shared.http.put("/v1/settings", json={"signature": "丙"}, headers=company.auth)
    assert unconditional.status_code == 200
    found = await shared.http.get("/v1/settings", headers=company.auth)
    assert (found.json()["signature"], found.headers["etag"]) == ("丙", unconditional.headers["etag"])


@pytest.mark.parametrize(
    "body",
    [
        {"recipients": {"emails": ["no address"]}},
        {"recipients": {"emails": ["a@b\r\nBcc: c@d"]}},
        {"recipients": {"phones": ["letters"]}},
        {"recipients": {"faxes": []}},
        {"signature": "two\nlines"},
        {"signature": "长" * 31},
        {"templates": {}},
    ],
)
async def test_wrong_settings_are_refused(shared: Stack, body: dict[str, object]) -> None:
    company = await shared.a_company()
    answer = await shared.http.put("/v1/settings", json=body, headers=company.auth)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_scopes_are_needed(shared: Stack) -> None:
    company = await shared.a_company()
    reader = await shared.a_key(company, "reader", ["messages:read"])
    other = await shared.a_key(company, "other", ["reports:read"])
    assert (await shared.http.get("/v1/settings", headers=reader)).status_code == 200
    assert (await shared.http.put("/v1/settings", json={}, headers=reader)).status_code == 403
    for path in ("/v1/settings", "/v1/messages", "/v1/credit", "/v1/stream?feed=tickets", "/v1/stream?feed=outbound"):
        assert (await shared.http.get(path, headers=other)).status_code == 403, path
        assert (await shared.http.get(path)).status_code == 401, path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages?colour=red",
        "/v1/messages?state=lost",
        "/v1/messages?ticket=7",
        "/v1/messages?limit=0",
        "/v1/messages?cursor=bm8",
        "/v1/credit?colour=red",
        "/v1/credit?cursor=bm8",
        "/v1/stream",
        "/v1/stream?feed=agents",
        "/v1/stream?feed=tickets&colour=red",
        "/v1/messages/7",
    ],
)
async def test_wrong_parameters_are_refused(shared: Stack, path: str) -> None:
    company = await shared.a_company()
    assert (await shared.http.get(path, headers=company.auth)).status_code == 422
