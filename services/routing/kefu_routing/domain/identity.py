"""Who is one contact (design, section 5; H-06)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID

from kefu_common.events.interactions import CallStarted, ContactClaim, InteractionData
from kefu_routing.domain.model import Contact

Kind = Literal["external", "email", "phone"]
Key = tuple[str, Kind, str]
"""Account, kind, value."""
_KINDS: tuple[Kind, ...] = ("external", "email", "phone")


_FEWEST_DIGITS: Final = 5
"""Switches send words or a few digits for numbers that are withheld."""


def claim_of(data: InteractionData) -> ContactClaim | None:
    """Who the event says it is about; a caller of whom nothing else is known is whoever has that number (K-02)."""
    claim = data.contact
    if not isinstance(data, CallStarted) or len(same_phone(data.from_)) < _FEWEST_DIGITS:
        return claim
    if claim is None:
        return ContactClaim(phone=data.from_)
    return claim if claim.phone else claim.model_copy(update={"phone": data.from_})


def keys_of(account: str, claim: ContactClaim) -> list[Key]:
    """By what the claimed contact can be recognised, strongest first."""
    keys: list[Key] = []
    if claim.external_id:
        keys.append((account, "external", claim.external_id))
    if email := same_email(claim.email):
        keys.append((account, "email", email))
    if phone := same_phone(claim.phone):
        keys.append((account, "phone", phone))
    return keys


def same_email(address: str | None) -> str:
    """What is the same for all spellings of an address; empty for none."""
    return (address or "").strip().lower()


@lru_cache(maxsize=4096)
def same_phone(number: str | None) -> str:
    """What is the same for all spellings of a number; empty for none. Asked several times for each event."""
    return "".join(c for c in number or "" if c.isdigit() or c == "+")


@dataclass(slots=True)
class ContactBook:
    """The contacts that a batch may concern, and what it changes about them."""

    by_key: dict[Key, UUID]
    contacts: dict[UUID, Contact]
    new_id: Callable[[], UUID]
    changed: dict[UUID, Contact] = field(default_factory=dict)
    new_keys: dict[Key, UUID] = field(default_factory=dict)

    def find_or_make(self, account: str, claim: ContactClaim | None, now: datetime) -> Contact:
        """The contact of a claim, made if unknown, with what the claim says filled in.

        By external id; without one by e-mail, then phone. A new external id takes over a contact that has none and
        shares an address; two different external ids are never one contact. Whoever is known by an address alone may
        be a stranger who typed it: then nothing that is known is replaced, and a phone number brings no e-mail address.
        """
        if claim is None:
            return self._make(account, now)
        keys = keys_of(account, claim)
        known, by = self._known(keys, claim.external_id)
        contact = known or self._make(account, now)
        is_vouched_for = known is None or claim.external_id is not None
        taken_over = {kind for kind in _KINDS if is_vouched_for or kind == by or _may_bring(contact, by, kind)}
        self._fill_in(contact, claim, taken_over, is_vouched_for)
        for key in keys:
            if key not in self.by_key and key[1] in taken_over:
                self.by_key[key] = self.new_keys[key] = contact.id
        return contact

    def _known(self, keys: list[Key], external_id: str | None) -> tuple[Contact | None, Kind | None]:
        for key in keys:
            contact = self.contacts.get(self.by_key[key]) if key in self.by_key else None
            if contact is None:
                continue
            if key[1] == "external" or external_id is None or contact.external_id in (None, external_id):
                return contact, key[1]
        return None, None

    def _make(self, account: str, now: datetime) -> Contact:
        contact = Contact(self.new_id(), account, now)
        self.contacts[contact.id] = self.changed[contact.id] = contact
        return contact

    def _fill_in(self, contact: Contact, claim: ContactClaim, taken_over: set[Kind], is_vouched_for: bool) -> None:
        before = (contact.external_id, contact.name, contact.phone, contact.email, contact.tier)
        contact.external_id = contact.external_id or claim.external_id or None
        if is_vouched_for or contact.name is None:
            contact.name = claim.name or contact.name
        if "phone" in taken_over:
            contact.phone = claim.phone or contact.phone
        if "email" in taken_over:
            contact.email = claim.email or contact.email
        contact.tier = claim.tier or contact.tier
        if before != (contact.external_id, contact.name, contact.phone, contact.email, contact.tier):
            self.changed[contact.id] = contact


def _may_bring(contact: Contact, by: Kind | None, kind: Kind) -> bool:
    """Whether a contact known by one address gets another one: a phone number may be added, never replaced."""
    return by == "email" and kind == "phone" and contact.phone is None
