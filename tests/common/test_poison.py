"""Guarantee 4: what cannot be read is set aside with all that it was, and the next record goes on."""

from dataclasses import dataclass
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from kefu_common.kafka.topics import MAX_RECORD_BYTES
from tests.common.harness import TOPIC, Bench, eventually, ticked


@dataclass(frozen=True)
class Poison:
    value: bytes | None
    reason: str
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()


def an_event(**changed: object) -> bytes:
    import json

    fields: dict[str, object] = {
        "specversion": "1.0", "id": str(uuid4()), "type": "kefu.test.ticked", "source": "/sites/shop", "subject": "k",
        "time": "2026-11-23T09:30:00+08:00", "account": "acme", "data": {"n": 1},
    }  # fmt: skip
    return json.dumps(fields | changed).encode()


POISONS = [
    Poison(b"\xff\xfe not JSON", "not_json"),
    Poison(b"", "not_json"),
    Poison(None, "not_json"),
    Poison(b"[" * 100_000, "not_json"),
    Poison(b"[1, 2]", "not_an_event"),
    Poison(b'{"id": 1}', "not_an_event", headers=(("content-type", b"\xff\xfe\x00"),)),
    Poison(an_event(time="2026-11-23T09:30:00"), "not_an_event"),
    Poison(an_event(type="kefu.test.unheard"), "unknown_type", headers=(("x", b""), ("x", b"\x80"))),
    Poison(an_event(data={"n": "many"}), "invalid_data"),
    Poison(an_event(data=None), "invalid_data"),
    Poison(b"key is no text", "not_json", key=b"\xff\x00\xfe"),
    Poison(b"no key", "not_json", key=None),
]


async def test_poison_is_set_aside_whole_and_the_next_record_is_applied(bench: Bench) -> None:
    consuming = bench.consuming()
    for poison in POISONS:
        await bench.post_raw(poison.value, poison.key, list(poison.headers))
    await bench.post(ticked(7))

    await consuming.consumer.start()

    async def is_applied() -> bool:
        return await bench.applied() == [7] and len(await bench.letters()) == len(POISONS)

    await eventually(is_applied)
    assert consuming.tries[7] == 1
    assert not consuming.broken
    letters = {
        (letter.key, letter.value, dict(letter.headers)["kefu-reason"]): letter for letter in await bench.letters()
    }
    for poison in POISONS:
        letter = letters[poison.key, poison.value or b"", poison.reason.encode()]
        headers = dict(letter.headers)
        assert tuple(h for h in letter.headers if not h[0].startswith("kefu-")) == poison.headers
        assert headers["kefu-topic"] == TOPIC.encode()
        assert headers["kefu-partition"].isdigit()
        assert headers["kefu-offset"].isdigit()
    places = {(dict(x.headers)["kefu-partition"], dict(x.headers)["kefu-offset"]) for x in await bench.letters()}
    assert len(places) == len(POISONS)


@pytest.mark.parametrize("key", [b"a\x00b", b"\xff\xfe"])
async def test_an_event_under_an_odd_key_is_applied_and_its_followers_can_be_held_back(
    bench: Bench, key: bytes
) -> None:
    consuming = bench.consuming(fails=lambda r: ValueError() if r.event.data.n == 2 else None)
    for n in (1, 2, 3):
        await bench.post_raw(ticked(n).to_bytes(), key, [])

    await consuming.consumer.start()

    async def are_aside() -> bool:
        return await bench.reasons() == ["failed", "follows"]

    await eventually(are_aside)
    assert await bench.applied() == [1]
    assert {letter.key for letter in await bench.letters()} == {key}
    assert not consuming.broken


async def test_the_largest_record_that_the_topic_takes_still_fits_into_a_dead_letter(bench: Bench) -> None:
    consuming = bench.consuming()
    value = b"x" * (MAX_RECORD_BYTES + 3900)
    await bench.post_raw(value, b"k", [])
    await bench.post(ticked(1))

    await consuming.consumer.start()

    async def is_aside() -> bool:
        return [letter.value for letter in await bench.letters()] == [value] and await bench.applied() == [1]

    await eventually(is_aside)
    assert not consuming.broken


async def test_offsets_are_committed_and_the_batch_is_not_read_again(bench: Bench) -> None:
    before = REGISTRY.get_sample_value("kefu_dead_letters_total", {"topic": TOPIC, "reason": "not_json"}) or 0
    consuming = bench.consuming()
    await bench.post_raw(b"?", b"k", [])
    await bench.post(ticked(1), ticked(2))
    await consuming.consumer.start()

    async def is_committed() -> bool:
        return await bench.committed(consuming.consumer) == 3

    await eventually(is_committed)
    assert REGISTRY.get_sample_value("kefu_dead_letters_total", {"topic": TOPIC, "reason": "not_json"}) == before + 1
    assert len(await bench.letters()) == 1
