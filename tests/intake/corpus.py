"""Odd and hostile bodies, each with the answer that it must get: 202, 400, or the paths that a 422 names."""

from dataclasses import dataclass

from tests.intake.building import A_REF, a_post, body_of

HUGE = "x" * (64 * 1024 + 1)


@dataclass(frozen=True)
class Case:
    """A body, and what it must get."""

    name: str
    body: bytes
    expected: int | frozenset[str]
    path: str = "chats"

    @property
    def status(self) -> int:
        """The answer's number."""
        return self.expected if isinstance(self.expected, int) else 422


def good(name: str, post: object, path: str = "chats") -> Case:
    return Case(name, body_of(post), 202, path)


def bad(name: str, post: object, *paths: str, path: str = "chats") -> Case:
    return Case(name, body_of(post), frozenset(paths), path)


def broken(name: str, body: bytes, path: str = "chats") -> Case:
    return Case(name, body, 400, path)


def with_raw(post: dict[str, object], marker: str, raw: bytes) -> bytes:
    """The post, with the string `marker` replaced by raw bytes, quotes and all."""
    return body_of(post).replace(f'"{marker}"'.encode(), raw)


_AT = "occurred_at"
CASES = [
    broken("empty body", b""),
    broken("only white space", b" \r\n\t "),
    broken("no JSON", b"hello"),
    broken("cut off", body_of(a_post())[:-1]),
    broken("two events without an array", body_of(a_post()) * 2),
    broken("trailing comma", body_of(a_post())[:-1] + b",}"),
    broken("single quotes", body_of(a_post()).replace(b'"', b"'")),
    broken("a comment", b"/* hi */" + body_of(a_post())),
    broken("byte order mark", b"\xef\xbb\xbf" + body_of(a_post())),
    broken("UTF-16", body_of(a_post()).decode().encode("utf-16")),
    broken("GBK", body_of(a_post()).decode().encode("gbk")),
    broken("invalid UTF-8", with_raw(a_post(id="@"), "@", b'"\xff\xfe"')),
    broken("overlong UTF-8", with_raw(a_post(id="@"), "@", b'"\xc0\xaf"')),
    broken("surrogate in UTF-8", with_raw(a_post(id="@"), "@", b'"\xed\xa0\x80"')),
    broken("lone high surrogate", with_raw(a_post(id="@"), "@", rb'"\ud800"')),
    broken("lone low surrogate in a text", with_raw(a_post(data={"text": "@"}), "@", rb'"a\udc00b"')),
    broken("raw control character", with_raw(a_post(id="@"), "@", b'"a\x01b"')),
    broken("NaN", with_raw(a_post("call.started", data={"ringing_s": "@"}), "@", b"NaN"), "calls"),
    broken("Infinity", with_raw(a_post("call.started", data={"ringing_s": "@"}), "@", b"-Infinity"), "calls"),
    broken("NaN in an unknown field", with_raw(a_post(new="@"), "@", b"NaN")),
    broken("nesting bomb of objects", b'{"a":' * 100_000),
    broken("nesting bomb in a field", with_raw(a_post(data="@"), "@", b"[" * 5000 + b"]" * 5000)),
    broken("closed nesting bomb", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    broken("a number of 10,000 digits", with_raw(a_post(id="@"), "@", b"9" * 10_000)),
    bad("null", None, ""),
    bad("a number", 5, ""),
    bad("a string", "chat.message", ""),
    bad("an empty object", {}, "type", "id", "site", "interaction", "occurred_at"),
    bad("no id", a_post(id=...), "id"),
    Case("no type", body_of({k: v for k, v in a_post().items() if k != "type"}), frozenset({"type"})),
    bad("no site", a_post(site=...), "site"),
    bad("no interaction", a_post(interaction=...), "interaction"),
    bad("no occurred_at", a_post(occurred_at=...), _AT),
    bad("nothing but a type", {"type": "chat.started"}, "id", "site", "interaction", _AT),
    bad(
        "the same on a path with one type",
        {"type": "message.left"},
        "id",
        "site",
        "interaction",
        _AT,
        "data",
        path="messages",
    ),
    bad("null id", a_post(id=None), "id"),
    bad("empty id", a_post(id=""), "id"),
    bad("numeric id", a_post(id=7), "id"),
    bad("boolean id", a_post(id=True), "id"),
    bad("id of 201 characters", a_post(id="x" * 201), "id"),
    good("id of 200 Chinese characters", a_post(id="号" * 200)),
    good("interaction with slashes and spaces", a_post(interaction="a/b c?d#e\u2028")),
    bad("newline in an id", a_post(id="a\nb"), "id"),
    bad("the separator of derived ids in an id", a_post(id="a\x1fb"), "id"),
    bad("C1 control character in an interaction", a_post(interaction="a\x85b"), "interaction"),
    bad("NUL in an interaction", a_post(interaction="a\x00b"), "interaction"),
    bad("NUL in a text", a_post(data={"text": "a\x00b"}), "data.text"),
    bad("NUL in a name", a_post(contact={"name": "\x00"}), "contact.name"),
    bad("NUL in a source", a_post(source="a\x00"), "source"),
    bad(
        "NUL in a header's name",
        a_post("email.received", data={"headers": {"a\x00": "b"}}),
        "data.headers.a\x00",
        path="emails",
    ),
    bad("type of another path", a_post("call.started"), "type"),
    Case("type with the prefix", body_of(a_post() | {"type": "kefu.chat.message"}), frozenset({"type"})),
    Case("type in capitals", body_of(a_post() | {"type": "CHAT.MESSAGE"}), frozenset({"type"})),
    Case("type is a list", body_of(a_post() | {"type": ["chat.message"]}), frozenset({"type"})),
    Case("type is an object", body_of(a_post() | {"type": {"a": 1}}), frozenset({"type"})),
    Case("type is null", body_of(a_post() | {"type": None}), frozenset({"type"})),
    Case(
        "wrong type on a path with one",
        body_of(a_post() | {"type": "email.sent"}),
        frozenset({"type", "data.from"}),
        "emails",
    ),
    bad("time as a number", a_post(occurred_at=1_795_000_000), _AT),
    bad("time as digits in a string", a_post(occurred_at="1795000000"), _AT),
    bad("time without a zone", a_post(occurred_at="2026-11-23T09:30:00"), _AT),
    bad("only a date", a_post(occurred_at="2026-11-23"), _AT),
    bad("month 13", a_post(occurred_at="2026-13-01T09:30:00Z"), _AT),
    bad("30th of February", a_post(occurred_at="2026-02-30T09:30:00Z"), _AT),
    bad("hour 24", a_post(occurred_at="2026-11-23T24:00:00Z"), _AT),
    bad("leap second", a_post(occurred_at="2026-06-30T23:59:60Z"), _AT),
    bad("zone of 24 hours", a_post(occurred_at="2026-11-23T09:30:00+24:00"), _AT),
    bad("null time", a_post(occurred_at=None), _AT),
    bad("Arabic digits", a_post(occurred_at="٢٠٢٦-11-23T09:30:00Z"), _AT),
    bad("white space around the time", a_post(occurred_at=" 2026-11-23T09:30:00Z "), _AT),
    bad("unknown field", a_post(priority=9), "priority"),
    bad("account in the body", a_post(account="other"), "account"),
    bad("a field named like a type", a_post() | {"chat.message": 1}, "chat.message"),
    bad("one with steps named like ours", a_post(site=5) | {"chat.message": {"site": 1}}, "site", "chat.message"),
    bad("unknown field of the contact", a_post(contact={"phon": "1"}), "contact.phon"),
    bad("unknown field of data", a_post(data={"txt": "x"}), "data.txt"),
    bad("common field in data", a_post(data={"text": "x", "source": "app"}), "data.source"),
    bad("Python's name of a field", a_post(data={"from_": "contact"}), "data.from_"),
    bad("data of another type", a_post(data={"agent": "a01"}), "data.agent"),
    bad("text is a number", a_post(data={"text": 5}), "data.text"),
    bad("text is a list", a_post(data={"text": ["a"]}), "data.text"),
    bad("text over 64 KiB", a_post(data={"text": HUGE}), "data.text"),
    good("text of 64 KiB", a_post(data={"text": HUGE[1:]})),
    bad("from an agent", a_post(data={"text": "x", "from": "agent"}), "data.from"),
    bad("data is a list", a_post(data=[]), "data"),
    bad("data is a string", a_post(data="text"), "data"),
    bad("contact is a string", a_post(contact="王芳"), "contact"),
    bad("name over 200", a_post(contact={"name": "x" * 201}), "contact.name"),
    bad(
        "attachment without ref",
        a_post(data={"attachments": [{"ref": A_REF}, {"name": "b"}]}),
        "data.attachments.1.ref",
    ),
    bad(
        "attachment with an unknown field",
        a_post(data={"attachments": [{"ref": A_REF, "url": "b"}]}),
        "data.attachments.0.url",
    ),
    bad("attachments are an object", a_post(data={"attachments": {}}), "data.attachments"),
    bad("101 attachments", a_post(data={"attachments": [{"ref": A_REF}] * 101}), "data.attachments"),
    bad("a flood of wrong attachments", a_post(data={"attachments": [1] * 100_000}), "data.attachments.0"),
    good(
        "nulls everywhere they may be",
        a_post(source=None, category=None, contact=None, data={"text": None, "attachments": None, "from": None}),
    ),
    good("null data", a_post(data=None)),
    good("no data", a_post(data=...)),
    good("null fields of the contact", a_post(contact={"external_id": None, "phone": None, "tier": None})),
    good("a phone in no known form", a_post(contact={"phone": "内线 8001 转 王芳", "email": "not an address"})),
    good("an empty phone", a_post(contact={"external_id": "", "phone": "", "email": " "})),
    good("controls in a text", a_post(data={"text": "a\tb\r\nc\x01\x7f\u202e"})),
    good("a text beyond the basic plane", a_post(data={"text": "🀄𠮷"})),
    Case("escaped surrogate pair", with_raw(a_post(data={"text": "@"}), "@", rb'"\ud83c\udc04"'), 202),
    Case("the last of two equal names counts", body_of(a_post())[:-1] + b',"id":"second"}', 202),
    Case("white space in front", b" \n\t" + body_of(a_post()), 202),
    bad("no agent", a_post("call.answered", data={}), "data.agent", path="calls"),
    bad("no data where it is needed", a_post("call.answered", data=...), "data", path="calls"),
    bad("null data where it is needed", a_post("call.answered", data=None), "data", path="calls"),
    bad("null agent", a_post("call.answered", data={"agent": None}), "data.agent", path="calls"),
    bad("empty agent", a_post("call.answered", data={"agent": ""}), "data.agent", path="calls"),
    bad("seconds as a string", a_post("call.ended", data={"duration_s": "61"}), "data.duration_s", path="calls"),
    bad("negative seconds", a_post("call.ended", data={"duration_s": -1}), "data.duration_s", path="calls"),
    bad("a number beyond all", a_post("call.ended", data={"duration_s": "@"}), "data.duration_s", path="calls"),
    Case(
        "infinite by its exponent",
        with_raw(a_post("call.ended", data={"duration_s": "@"}), "@", b"1e999"),
        frozenset({"data.duration_s"}),
        "calls",
    ),
    bad("boolean seconds", a_post("call.ended", data={"duration_s": True}), "data.duration_s", path="calls"),
    bad("score 0", a_post("rating.given", data={"score": 0}), "data.score", path="ratings"),
    bad("score 6", a_post("rating.given", data={"score": 6}), "data.score", path="ratings"),
    bad("score as a string", a_post("rating.given", data={"score": "5"}), "data.score", path="ratings"),
    bad("score 4.5", a_post("rating.given", data={"score": 4.5}), "data.score", path="ratings"),
    bad("score true", a_post("rating.given", data={"score": True}), "data.score", path="ratings"),
    bad("headers are a list", a_post("email.received", data={"headers": []}), "data.headers", path="emails"),
    bad(
        "a header is a number",
        a_post("email.received", data={"headers": {"str": 5}}),
        "data.headers.str",
        path="emails",
    ),
    bad(
        "a header's second value is one",
        a_post("email.received", data={"headers": {"X": ["a", 5]}}),
        "data.headers.X",
        "data.headers.X.1",
        path="emails",
    ),
    bad("empty instruction", a_post("instruction.done", data={"instruction": ""}), "data.instruction", path="outcomes"),
]
