"""Reading a posted body: its type, its bytes within the limits, and the items of an array."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from fastapi import Request

from kefu_common.http.problems import BadRequest, PayloadTooLarge, UnsupportedMediaType

MAX_EVENT_BYTES: Final = 1024 * 1024
MAX_ARRAY_BYTES: Final = 8 * 1024 * 1024
MAX_FILE_BYTES: Final = 30 * 1024 * 1024
MAX_ARRAY_EVENTS: Final = 1000
EVENT_TOO_LARGE: Final = "an event has at most 1 MiB"
_ARRAY_TOO_LARGE: Final = "an array has at most 8 MiB and 1,000 events"
_BEGINS_ARRAY: Final = re.compile(rb"[ \t\r\n]*\[")
_BEGINS_OTHER: Final = re.compile(rb"[ \t\r\n]*[^ \t\r\n\[]")


def is_array(body: bytes | bytearray) -> bool:
    """Whether the JSON is an array."""
    return _BEGINS_ARRAY.match(body) is not None


async def read_json_body(request: Request, kinds: Collection[bytes] = (b"application/json",)) -> bytes | bytearray:
    """The whole body of one of these media types.

    Raises:
        UnsupportedMediaType: none of them in UTF-8, or compressed.
        PayloadTooLarge: refused by its declared length at once, or as soon as more has come.
        BadRequest: the caller went away.
    """
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    _check_type(headers, kinds)
    expected = declared_length(request)
    if expected > MAX_ARRAY_BYTES:
        raise PayloadTooLarge(_ARRAY_TOO_LARGE)
    return await _read(request, lambda body: _check_size(body, max(expected, len(body))))


async def read_file_body(request: Request) -> bytes | bytearray:
    """The whole body, of whatever type, of at most 30 MiB.

    Raises:
        UnsupportedMediaType: compressed.
        PayloadTooLarge, BadRequest: as above.
    """
    _check_plain(dict(request.scope["headers"]))

    def check(body: bytes | bytearray) -> None:
        if max(declared_length(request), len(body)) > MAX_FILE_BYTES:
            raise PayloadTooLarge("a mail or an attachment has at most 30 MiB")

    check(b"")
    return await _read(request, check)


def declared_length(request: Request) -> int:
    """What the caller says how long the body is; 0 when not said."""
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    return int(headers.get(b"content-length", b"0"))  # the server lets only numbers through


def media_type(request: Request) -> bytes:
    """The body's media type in lower case, without parameters."""
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


async def _read(request: Request, check: Callable[[bytes | bytearray], None]) -> bytes | bytearray:
    body: bytes | bytearray = b""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the body ended early")
        # Most bodies come in one piece, which is not copied.
        chunk: bytes = message.get("body", b"")
        if isinstance(body, bytearray):
            body += chunk
        else:
            body = bytearray(body + chunk) if body else chunk
        check(body)
        if not message.get("more_body", False):
            return body


def oversized_items(body: bytes | bytearray) -> frozenset[int]:
    """Which items of an array, whose JSON was found good, have more bytes than an event may have."""
    if len(body) <= MAX_EVENT_BYTES:
        return frozenset()
    text = body.decode()
    scan = json.JSONDecoder(parse_int=len).raw_decode  # a number's length is as good here, and has no limit
    found: list[int] = []
    number, place = 0, _skip(text, text.index("[") + 1)
    while text[place] != "]":
        _, end = scan(text, place)
        if len(text[place:end].encode()) > MAX_EVENT_BYTES:
            found.append(number)
        number, place = number + 1, _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return frozenset(found)


def _check_type(headers: Mapping[bytes, bytes], kinds: Collection[bytes]) -> None:
    kind, *parameters = (part.strip().lower() for part in headers.get(b"content-type", b"").split(b";"))
    charsets = [p.removeprefix(b"charset=").strip(b'"') for p in parameters if p.startswith(b"charset=")]
    if kind not in kinds or any(c not in (b"utf-8", b"utf8") for c in charsets):
        raise UnsupportedMediaType(f"send {' or '.join(k.decode() for k in kinds)} in UTF-8")
    _check_plain(headers)


def _check_plain(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")


def _check_size(body: bytes | bytearray, size: int) -> None:
    if size <= MAX_EVENT_BYTES:
        return
    if size > MAX_ARRAY_BYTES:
        raise PayloadTooLarge(_ARRAY_TOO_LARGE)
    if _BEGINS_OTHER.match(body):
        raise PayloadTooLarge(EVENT_TOO_LARGE)


def too_many() -> PayloadTooLarge:
    """More events than an array may have."""
    return PayloadTooLarge(_ARRAY_TOO_LARGE)


def _skip(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place
