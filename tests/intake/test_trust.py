"""Who may post how much: rates, rotated keys, signed requests."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kefu_common.http.auth import hash_key
from kefu_common.http.signing import sign
from kefu_common.sealing import Sealer
from kefu_intake.domain.rates import Rate, pay, standing
from tests.conftest import SEALING_KEY
from tests.intake.building import a_key, a_post, body_of
from tests.intake.conftest import knows
from tests.intake.running import Intake, until

IN_FORCE_S = 2.0


@given(st.integers(1, 10_000), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 1000)), max_size=50))
def test_over_time_no_key_posts_more_than_its_rate(per_s: int, posts: list[tuple[float, int]]) -> None:
    rate, now, paid_until, taken, last = Rate(per_s), 0.0, 0.0, 0, 0
    for pause_s, events in posts:
        now += pause_s
        if standing(rate, paid_until, now).may_post:
            paid_until = pay(rate, paid_until, now, events)
            taken, last = taken + events, events
    # a burst, and one array that was begun while there was room for one event
    assert taken <= rate.burst + now * per_s + last + 1


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_who_waits_as_told_may_post(per_s: int, events: int) -> None:
    rate = Rate(per_s)
    paid_until = pay(rate, 0.0, 100.0, events)
    told = standing(rate, paid_until, 100.0)
    assert told.may_post or standing(rate, paid_until, 100.0 + told.reset_s).may_post
    assert standing(rate, paid_until, 100.0 + events / per_s).remaining == rate.burst


async def test_a_key_over_its_rate_is_told_when_to_come_again(intake: Intake) -> None:
    await intake.set("key", "slow", a_key("slow-secret", "slow", rate_per_s=5))
    await until(lambda: knows(intake, "slow-secret"), IN_FORCE_S)
    answers = [await intake.post("chats", a_post(id=str(n)), key="slow-secret") for n in range(8)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 202
    assert 429 in statuses
    first, refused = answers[0], answers[statuses.index(429)]
    assert first.headers["ratelimit-policy"] == '"events";q=5;w=1'
    assert first.headers["ratelimit"].startswith('"events";r=')
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("1", '"events";r=0;t=1')
    # other keys are not held up, and this one may post again after the time
    assert (await intake.post("chats", a_post())).status_code == 202

    async def again() -> bool:
        return (await intake.post("chats", a_post(), key="slow-secret")).status_code == 202

    assert await until(again, 1.5) < 1.2


async def test_an_array_counts_by_its_events_and_a_refused_post_too(intake: Intake) -> None:
    await intake.set("key", "array", a_key("array-secret", "array", rate_per_s=10))
    await until(lambda: knows(intake, "array-secret"), IN_FORCE_S)
    await asyncio.sleep(0)
    many = await intake.post("chats", [a_post(id=f"r{n}") for n in range(30)], key="array-secret")
    assert many.status_code == 200
    refused = await intake.post("chats", a_post(), key="array-secret")
    assert refused.status_code == 429
    assert 2 <= int(refused.headers["retry-after"]) <= 3


async def test_a_rotated_key_s_former_secret_is_taken_for_its_time(intake: Intake) -> None:
    def former(until: datetime) -> dict[str, object]:
        return {"hash": hash_key("former-secret"), "until": until.isoformat()}

    soon = datetime.now(UTC) + timedelta(minutes=5)
    await intake.set("key", "rotated", a_key("rotated-secret", "rotated", former=former(soon)))
    await until(lambda: knows(intake, "rotated-secret"), IN_FORCE_S)
    assert (await intake.post("chats", a_post(), key="former-secret")).status_code == 202
    ended = a_key("rotated-secret", "rotated", former=former(datetime.now(UTC)))
    await intake.set("key", "rotated", ended, version=2)

    async def is_over() -> bool:
        return (await intake.post("chats", a_post(), key="former-secret")).status_code == 401

    await until(is_over, IN_FORCE_S)
    assert (await intake.post("chats", a_post(), key="rotated-secret")).status_code == 202


async def _signed(intake: Intake, path: str, body: bytes, kind: str, **changes: str) -> httpx.Response:
    timestamp = str(int(datetime.now(UTC).timestamp()))
    signature = sign("sign-secret", timestamp, "POST", f"/v1/{path}", body).decode()
    headers = {"Kefu-Key": "acme/signs", "Kefu-Timestamp": timestamp, "Kefu-Signature": signature}
    return await intake.client.post(f"/v1/{path}", content=body, headers={"Content-Type": kind} | headers | changes)


async def test_a_key_that_signs_sends_no_secret_and_what_it_did_not_sign_is_not_taken(intake: Intake) -> None:
    sealed = Sealer.of(SEALING_KEY).seal("sign-secret")
    await intake.set("key", "signs", a_key("unused", "signs", hash=None, signed=True, sealed=sealed))
    post = body_of(a_post(interaction="signed"))

    async def is_known() -> bool:
        return (await _signed(intake, "chats", post, "application/json")).status_code == 202

    await until(is_known, IN_FORCE_S)
    mail = b"From: a@b\r\n\r\nx"
    assert (await _signed(intake, "emails/raw?site=shop", mail, "message/rfc822")).status_code == 202
    assert (await _signed(intake, "attachments", b"\x89PNG\r\n\x1a\n", "image/png")).status_code == 201
    array = body_of([a_post(interaction="signed")])
    assert (await _signed(intake, "chats", array, "application/json")).status_code == 200
    for change in ({"Kefu-Signature": "v1=00"}, {"Kefu-Timestamp": "1"}, {"Kefu-Key": "b-corp/signs"}):
        answer = await _signed(intake, "chats", post, "application/json", **change)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Kefu-Signature")
    assert len(await intake.records("signed")) == 2


@pytest.mark.parametrize("interaction", ["ticket-0197f0d0-0000-7000-8000-000000000000"])
async def test_nobody_posts_as_the_bearer_of_a_ticket_s_tag(intake: Intake, interaction: str) -> None:
    answer = await intake.post("emails", a_post("email.received", interaction=interaction))
    assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (422, ["interaction"])
    assert (await intake.post("emails", a_post("email.received", interaction="ticket-1"))).status_code == 202
