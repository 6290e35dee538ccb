"""One spelling for each phone number, e-mail address and id, so that a returning visitor is recognised (H-06).

What cannot be read passes as it came: its form is never an error.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneNumberFormat, PhoneNumberType

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_EXTENSION: Final = re.compile(r"\s*(?:转|轉|分机|分機)\s*:?\s*([0-9]{1,7})\s*$")
_LONGEST: Final = 60
"""Longer texts are no numbers, and not worth the search."""
_SERVICE: Final = frozenset(
    {
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
    }
)
"""Numbers such as 4001234567 are dialled within their country alone."""


def uniform_contact(contact: Mapping[str, str], region: str) -> dict[str, object]:
    """The claim with its phone, address and id in one spelling; `given` holds what looked different before."""
    uniform: dict[str, object] = dict(contact)
    given = {}
    for name, value in contact.items():
        match name:
            case "phone":
                same = uniform_phone(value, region)
            case "email":
                same = uniform_email(value)
            case "external_id":
                same = uniform_id(value)
            case _:
                continue
        if same != value:
            uniform[name], given[name] = same, value
    return uniform | {"given": given} if given else uniform


def uniform_numbers(data: Mapping[str, object], region: str) -> dict[str, object]:
    """The data of a call's start with both numbers in one spelling; `given` as above."""
    uniform = dict(data)
    given = {}
    for name in ("from", "to"):
        value = data.get(name)
        if isinstance(value, str) and (same := uniform_phone(value, region)) != value:
            uniform[name], given[name] = same, value
    return uniform | {"given": given} if given else uniform


def uniform_phone(number: str, region: str) -> str:
    """A number in E.164 (with `;ext=` where it has an extension); service numbers such as 95588 as they are.

    `region` is where numbers without a country code are at home. Source: ITU-T E.164, RFC 3966; libphonenumber.
    """
    if _E164.fullmatch(number) or len(number) > _LONGEST:
        return number
    return _read_phone(number, region)


@lru_cache(maxsize=10_000)
def _read_phone(number: str, region: str) -> str:
    main, extension = number, None
    if found := _EXTENSION.search(number):
        main, extension = number[: found.start()], found.group(1)
    try:
        read = phonenumbers.parse(main, region)
    except phonenumbers.NumberParseException:
        return number
    is_international = main.lstrip().startswith(("+", "＋", "00"))
    if not phonenumbers.is_valid_number(read):
        return number
    if not is_international and phonenumbers.number_type(read) in _SERVICE:
        return number
    extension = extension or read.extension
    read.extension = None
    uniform = phonenumbers.format_number(read, PhoneNumberFormat.E164)
    return f"{uniform};ext={extension}" if extension else uniform


def uniform_email(address: str) -> str:
    """An address in lower case, its domain in Unicode (RFC 6531)."""
    bare = unicodedata.normalize("NFC", address.strip())
    if bare.isascii() and _PLAIN_ADDRESS.fullmatch(bare):
        return bare.lower()
    try:
        return validate_email(bare, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        return address


_PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?!xn--)(?:(?!xn--)[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")


def uniform_id(id: str) -> str:
    """An adapter's id for a contact, without what no two spellings of one id differ in by intent."""
    return unicodedata.normalize("NFC", id.strip())
