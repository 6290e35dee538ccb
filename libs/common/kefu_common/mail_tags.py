"""Ticket tags: a ticket's id in short form, signed, as it stands in the subject of our e-mails (`[#tag]`).

Whoever answers such a mail comes back to its ticket, whatever their mail program did to the other headers.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final
from uuid import UUID

TAG_SIGNER: Final = "mail-tags"
"""The directory's id of the secret that signs an account's tags."""
_INTERACTION: Final = "ticket-"
_MAC_BYTES: Final = 6
"""Whoever forges a tag must hit one of 2^48, with an e-mail for each try, and know the ticket's id."""
_LENGTH: Final = 36


def make_tag(secret: str, ticket: UUID) -> str:
    """36 letters and digits, all small: mail programs keep them, and change the case of addresses."""
    return base64.b32encode(ticket.bytes + _mac(secret, ticket.bytes)).decode().rstrip("=").lower()


def read_tag(secret: str, tag: str) -> UUID | None:
    """The ticket of a tag, or None for one that this secret did not sign."""
    if len(tag) != _LENGTH:
        return None
    try:
        raw = base64.b32decode(tag.upper() + "====")
    except binascii.Error:
        return None
    ticket, mac = raw[:16], raw[16:]
    return UUID(bytes=ticket) if hmac.compare_digest(mac, _mac(secret, ticket)) else None


def interaction_of_ticket(ticket: UUID) -> str:
    """The interaction of an e-mail that carries the ticket's tag; routing knows it without having seen it before."""
    return f"{_INTERACTION}{ticket}"


def ticket_of_interaction(interaction: str) -> UUID | None:
    """The ticket, if the interaction is one that a tag gave."""
    if not interaction.startswith(_INTERACTION):
        return None
    try:
        return UUID(interaction.removeprefix(_INTERACTION))
    except ValueError:
        return None


def _mac(secret: str, ticket: bytes) -> bytes:
    return hmac.digest(secret.encode(), ticket, hashlib.sha256)[:_MAC_BYTES]
