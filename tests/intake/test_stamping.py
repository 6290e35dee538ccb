"""From form to event and back: what consumers read is what adapters said."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from kefu_common.events.envelope import body_hash, read_event
from kefu_common.events.interactions import INTERACTION_MODELS, ChatMessage
from kefu_common.kafka.topics import MAX_RECORD_BYTES
from kefu_intake.api.body import MAX_EVENT_BYTES
from kefu_intake.domain.forms import read_form
from kefu_intake.domain.long_bodies import split
from kefu_intake.domain.stamping import record_key, stamp
from tests.intake.building import EXAMPLES, Json, a_post, body_of

IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=ZONES)  # noqa: DTZ001 - zones come apart
CONTACTS = st.dictionaries(st.sampled_from(["name", "phone", "email", "tier"]), st.none() | TEXTS)


@st.composite
def posts(draw: st.DrawFn) -> tuple[str, Json]:
    """A path, and a good event for it."""
    path = draw(st.sampled_from(sorted(EXAMPLES)))
    type, data = draw(st.sampled_from(EXAMPLES[path]))
    text = {"text": draw(TEXTS)} if "text" in data else {}
    optional = {"source": draw(st.none() | TEXTS), "contact": draw(st.none() | CONTACTS)}
    changes = {"id": draw(IDS), "interaction": draw(IDS), "occurred_at": draw(TIMES).isoformat()}
    return path, a_post(type, **changes, **optional, data=data | text)


@settings(max_examples=150, deadline=None)
@given(posts())
def test_consumers_read_what_adapters_posted(example: tuple[str, Json]) -> None:
    path, post = example
    form = read_form(path, body_of(post))

    event = stamp(form, "acme", "pbx", "CN", None)
    read = read_event(event.to_bytes(), INTERACTION_MODELS)

    assert read == event
    assert (read.type, read.subject, read.site) == (f"kefu.{post['type']}", post["interaction"], "shop")
    assert read.time == datetime.fromisoformat(str(post["occurred_at"]))
    said = read.data.model_dump(by_alias=True)
    data = post["data"]
    assert isinstance(data, dict)
    derived = {"text"} if post["type"] == "email.received" and not data["text"] else set()
    for name in data.keys() - {"attachments"} - derived:
        assert said[name] == data[name]
    assert said["source"] == post["source"]
    assert record_key(event) == f"acme/{post['interaction']}".encode()


@settings(max_examples=50, deadline=None)
@given(posts())
def test_the_same_post_is_the_same_event(example: tuple[str, Json]) -> None:
    path, post = example
    one = stamp(read_form(path, body_of(post)), "acme", "pbx", "CN", None)
    two = stamp(read_form(path, body_of(post)), "acme", "pbx", "CN", None)
    assert one.to_bytes() == two.to_bytes()
    assert body_hash(one) == body_hash(two)


def an_event(account: str = "acme", **changes: object) -> tuple[str, bytes]:
    """Id and bytes of a chat message's event."""
    post = a_post(occurred_at="2026-11-23T09:30:00+08:00") | changes
    event = stamp(read_form("chats", body_of(post)), account, "pbx", "CN", None)
    return str(event.id), event.to_bytes()


def test_null_and_absent_and_another_zone_say_the_same() -> None:
    assert an_event(source=None, contact=None) == an_event()
    assert an_event(occurred_at="2026-11-23T01:30:00Z") == an_event()


def test_an_id_means_something_only_within_account_site_and_type() -> None:
    ids = {
        an_event()[0],
        an_event("other")[0],
        an_event(site="night")[0],
        an_event(id="e-2")[0],
        str(stamp(read_form("chats", body_of(a_post("chat.ended"))), "acme", "pbx", "CN", None).id),
    }
    assert len(ids) == 5
    assert an_event(interaction="i-2")[0] == an_event()[0]


def test_an_event_s_id_never_changes_between_versions() -> None:
    # A changed derivation would let every retry over an update through as a second event.
    assert an_event()[0] == "34cf865c-44bc-50fe-af3b-1160fb41e32e"


def test_a_message_without_words_has_the_reader_s_defaults() -> None:
    event = stamp(read_form("chats", body_of(a_post(data=None))), "acme", None, "CN", None)
    assert event.data == ChatMessage()
    assert b'"from":"contact"' in event.to_bytes()


def test_an_empty_claim_is_no_claim() -> None:
    form = read_form("chats", body_of(a_post(contact={"external_id": "", "phone": "  ", "name": "王芳"})))
    contact = stamp(form, "acme", None, "CN", None).data.contact
    assert contact is not None
    assert contact.model_dump(exclude_none=True) == {"name": "王芳"}


def test_the_largest_event_fits_into_a_record() -> None:
    # given: a body of just 1 MiB, made of what grows most when it is written anew
    def body(html: str) -> bytes:
        return body_of(a_post("email.received", id="x" * 200, interaction="号" * 200, data={"html": html}))

    room = MAX_EVENT_BYTES - len(body(""))
    for filler in ('"', "中", "\x01", "\x7f"):
        largest = body(filler * (room // len(body_of(filler)[1:-1])))
        assert len(largest) > MAX_EVENT_BYTES - 10
        form = read_form("emails", largest)
        kept, _ = split(form.get("data") or {})
        event = stamp({**form, "data": kept}, "a" * 64, "b" * 64, "CN", "c" * 55)
        assert len(event.to_bytes()) < MAX_RECORD_BYTES


def test_time_is_kept_in_utc() -> None:
    form = read_form("chats", body_of(a_post(occurred_at="2026-11-23T09:30:00.5+08:00")))
    time = stamp(form, "acme", None, "CN", None).time
    assert (time, time.tzinfo) == (datetime(2026, 11, 23, 1, 30, 0, 500_000, UTC), UTC)
