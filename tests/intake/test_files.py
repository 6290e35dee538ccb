"""Raw mails over HTTP, uploads, and what is too long for an event."""

import hashlib
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from kefu_common.events.interactions import EmailReceived
from kefu_common.mail_tags import interaction_of_ticket, make_tag
from kefu_common.sealing import Sealer
from tests.conftest import SEALING_KEY, World
from tests.intake.building import a_post
from tests.intake.conftest import seed
from tests.intake.mail_corpus import CASES, PNG, Case, attached, mail, multi, plain
from tests.intake.running import Intake, running_intake, until

LONG = 256 * 1024 + 1


async def post_mail(
    intake: Intake, raw: bytes, query: str = "?site=shop", key: str = "secret", kind: str = "message/rfc822"
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    return await intake.post_bytes(f"emails/raw{query}", raw, headers)


async def upload(intake: Intake, content: bytes, query: str = "", **headers: str) -> httpx.Response:
    return await intake.post_bytes(f"attachments{query}", content, {"Authorization": "Bearer secret", **headers})


def stored(intake: Intake, sha256: str, account: str = "acme") -> Path:
    return intake.log.with_suffix(".objects") / account / sha256[:2] / sha256


async def the_mail(intake: Intake, interaction: str) -> EmailReceived:
    event = (await intake.events(interaction))[-1]
    assert isinstance(event.data, EmailReceived)
    return event.data


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_mail_gets_its_answer_over_http(intake: Intake, case: Case) -> None:
    answer = await post_mail(intake, case.raw)
    assert answer.status_code == case.status, answer.text
    if case.status == 422:
        assert answer.json()["detail"] == "this cannot be read as an e-mail"
        assert len(answer.json()["errors"]) == 1


async def test_a_mail_s_files_are_stored_and_described(intake: Intake) -> None:
    raw = multi(
        plain("见附件"),
        attached(b"filename=a.png"),
        lines=(b"Subject: files", b"In-Reply-To: <files@x>", f"Date: {formatdate()}".encode()),
    )
    accepted = (await post_mail(intake, raw)).json()
    assert (await post_mail(intake, b"Received: x\r\n" + raw)).json() == accepted
    received = await the_mail(intake, accepted["interaction"])
    [file] = received.attachments
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert (file.name, file.type, file.size, file.sha256) == ("a.png", "image/png", len(PNG), sha256)
    assert stored(intake, sha256).read_bytes() == PNG
    assert (received.text, received.subject, received.message_id) == ("见附件", "files", "m@example.com")
    one, two = await intake.records(accepted["interaction"])
    assert one.value == two.value


@pytest.mark.parametrize(
    ("query", "key", "kind", "status"),
    [
        ("", "secret", "message/rfc822", 422),
        ("?site=", "secret", "message/rfc822", 422),
        ("?site=nowhere", "secret", "message/rfc822", 422),
        ("?site=shop&site=night", "secret", "message/rfc822", 422),
        ("?site=shop&colour=red", "secret", "message/rfc822", 422),
        ("?site=shop", "chats-secret", "message/rfc822", 403),
        ("?site=shop", "night-secret", "message/rfc822", 403),
        ("?site=shop", "unknown", "message/rfc822", 401),
        ("?site=shop", "secret", "text/plain", 415),
    ],
)
async def test_a_mail_needs_a_site_a_scope_and_its_type(
    intake: Intake, query: str, key: str, kind: str, status: int
) -> None:
    assert (await post_mail(intake, mail(), query, key, kind)).status_code == status


async def test_a_mail_without_a_date_that_can_be_right_happened_now(intake: Intake) -> None:
    for date in ("Mon, 1 Jan 2001 00:00:00 +0000", "nonsense"):
        accepted = (await post_mail(intake, mail(f"Date: {date}".encode(), f"X: {uuid4()}".encode()))).json()
        event = (await intake.events(accepted["interaction"]))[-1]
        assert abs((event.time - datetime.now(UTC)).total_seconds()) < 60


async def test_a_signed_tag_names_the_ticket_and_a_forged_one_nothing(intake: Intake) -> None:
    sealed = Sealer.of(SEALING_KEY).seal("tag-secret")
    await intake.set("secret", "mail-tags", {"id": "mail-tags", "sealed": sealed})
    ticket = UUID("0197f0d0-0000-7000-8000-000000000001")
    good, forged = make_tag("tag-secret", ticket), make_tag("other-secret", ticket)

    async def interaction(*lines: str) -> str:
        return str((await post_mail(intake, mail(*(line.encode() for line in lines)))).json()["interaction"])

    async def is_known() -> bool:
        return await interaction(f"Subject: Re: x [#{good}]") == interaction_of_ticket(ticket)

    await until(is_known, 2)
    assert await interaction(f"Subject: {good}", f"To: service+{good.upper()}@x.example") == interaction_of_ticket(
        ticket
    )
    assert await interaction(f"Subject: [#{forged}] [#{good}]") == interaction_of_ticket(ticket)
    assert (await interaction(f"Subject: [#{forged}]")).startswith("mail-")


async def test_bodies_over_256_kib_lie_in_the_object_store(intake: Intake) -> None:
    text, html = "文" * LONG, f"<p>{'x' * LONG}</p>"
    raw = multi(plain(text), b"Content-Type: text/html\r\n\r\n" + html.encode(), kind=b"alternative")
    accepted = (await post_mail(intake, raw)).json()
    simple = a_post("email.received", interaction="long", data={"text": "x", "html": html})
    await intake.post("emails", simple)
    await intake.post("emails", [simple | {"id": "e-2"}])
    received = await the_mail(intake, accepted["interaction"])
    assert received.html is None
    assert received.text is not None
    assert text.startswith(received.text[:-1])
    assert len(received.text.encode()) <= LONG + 3
    assert [(a.name, a.type) for a in received.attachments] == [
        ("message.txt", "text/plain"),
        ("message.html", "text/html"),
    ]
    for attachment, body in zip(received.attachments, (text, html), strict=True):
        assert attachment.sha256 is not None
        assert stored(intake, attachment.sha256).read_text(encoding="utf-8") == body
    for event in await intake.events("long"):
        assert isinstance(event.data, EmailReceived)
        assert (event.data.text, event.data.html, [a.name for a in event.data.attachments]) == (
            "x",
            None,
            ["message.html"],
        )


async def test_an_email_without_a_text_gets_one_from_its_html(intake: Intake) -> None:
    for number, html in enumerate(("<p>您好<br>再见</p>", f"<p>您好<br>再见</p><!--{'x' * LONG}-->")):
        interaction = f"html-only-{number}"
        await intake.post("emails", a_post("email.received", interaction=interaction, data={"html": html}))
        assert (await the_mail(intake, interaction)).text == "您好\n再见"


async def test_an_upload_is_typed_by_its_content_and_stored_once(intake: Intake) -> None:
    first = await upload(intake, PNG, "?name=a.pdf", **{"Content-Type": "application/pdf"})
    assert first.status_code == 201
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert first.json() == {
        "ref": f"{sha256}/{len(PNG)}/image/png",
        "type": "image/png",
        "size": len(PNG),
        "sha256": sha256,
    }
    assert (await upload(intake, PNG)).json() == first.json()
    attachment = {"ref": first.json()["ref"], "name": "a.png"}
    message = await intake.post("chats", a_post(interaction="uploaded", data={"attachments": [attachment]}))
    assert message.status_code == 202


@pytest.mark.parametrize(
    ("content", "query", "headers", "status"),
    [
        (b"", "", {}, 422),
        (PNG, "?name=", {}, 422),
        (PNG, "?colour=red", {}, 422),
        (PNG, "", {"Content-Encoding": "gzip"}, 415),
        (PNG, "", {"Authorization": "Bearer night-only"}, 401),
        (bytes(30 * 2**20 + 1), "", {}, 413),
        (bytes(30 * 2**20), "", {}, 201),
    ],
    ids=["empty", "empty name", "unknown parameter", "compressed", "unknown key", "over 30 MiB", "30 MiB"],
)
async def test_what_cannot_be_a_file_is_told(
    intake: Intake, content: bytes, query: str, headers: dict[str, str], status: int
) -> None:
    assert (await upload(intake, content, query, **headers)).status_code == status


async def test_with_the_object_store_away_nothing_is_half_done(world: World, tmp_path: Path) -> None:
    env = {"KEFU_OBJECTS": "s3://bucket/kefu", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "x"}
    env |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    async with running_intake(world.kafka, world.prefix, tmp_path / "intake.log", env) as alone:
        await seed(alone)

        async def is_refused() -> bool:
            return (await upload(alone, PNG)).status_code == 503

        await until(is_refused, 20)
        answer = await post_mail(alone, multi(plain(), attached(b"filename=a.png"), lines=(b"In-Reply-To: <away@x>",)))
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert (await post_mail(alone, mail())).status_code == 202
        assert (await alone.post("chats", a_post())).status_code == 202
        assert len(await alone.records()) == 2


async def test_many_large_bodies_at_once_are_bounded(world: World, tmp_path: Path) -> None:
    async with running_intake(
        world.kafka, world.prefix, tmp_path / "intake.log", {"KEFU_LARGE_BYTES": str(30 * 2**20)}
    ) as alone:
        await seed(alone)
        await until(lambda: _knows(alone), 20)
        held = bytes(20 * 2**20)

        async def slowly() -> object:
            yield held[: 2**20]
            assert (await upload(alone, held)).status_code == 503
            yield held[2**20 :]

        headers = {"Authorization": "Bearer secret", "Content-Length": str(len(held))}
        answer = await alone.client.post("/v1/attachments", content=slowly(), headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 201
        assert (await upload(alone, held)).status_code == 201


async def _knows(intake: Intake) -> bool:
    return (await intake.post("chats", {})).status_code == 422
