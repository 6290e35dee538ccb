"""The standard library's parser, held within bounds: alone it needs time with the square of what strangers send."""

from email._policybase import Compat32
from email.message import Message
from email.parser import BytesParser
from typing import Any, Final

DEEPEST: Final = 50
LONGEST_FIELD: Final = 16 * 1024
_MOST_PARAMETERS: Final = 100
"""They are taken apart anew whenever one is asked for, in quadratic time."""


class TooMany(Exception):
    """More parts, or deeper ones, than a mail may have; says what was expected."""


class _Untouched(Compat32):
    """Headers stay as they came: the bytes beyond ASCII as surrogates, for us to decode; and no longer than needed."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        """The value's beginning. What is written out again, as for a mail in the mail, stays whole."""
        beginning = value[:LONGEST_FIELD]
        if not name.lower().startswith("content-"):
            return beginning
        return ";".join(beginning.split(";", _MOST_PARAMETERS)[:_MOST_PARAMETERS])


class _Part(Message):
    """A part that knows how deep it stands. Every line is held against the boundaries of all multiparts around it."""

    depth = 0

    def attach(self, payload: Message) -> None:  # type: ignore[override]  # the parser attaches nothing but messages
        """Add a part as soon as it begins. Raises `TooMany`."""
        if isinstance(payload, _Part):
            payload.depth = self.depth + (self.get_content_maintype() == "multipart")
            if payload.depth > DEEPEST:
                raise TooMany(f"expected parts nested at most {DEEPEST} deep")
        super().attach(payload)

    def get_param(self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """A parameter; one that the library cannot put together from its pieces (RFC 2231) is as good as missing."""
        try:
            return super().get_param(param, failobj, header, unquote)
        except (LookupError, TypeError, ValueError):
            return failobj


def parse(raw: bytes) -> "Message[str, str]":
    """The mail's tree of parts.

    Raises:
        TooMany: parts are nested too deep.
        RecursionError: mails are.
    """
    return BytesParser(_Part, policy=_Untouched()).parsebytes(raw)
