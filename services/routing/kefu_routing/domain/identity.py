"""Who is one contact (design, section 5; H-06)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from kefu_common.events.interactions import ContactClaim
from kefu_routing.domain.model import Contact

Key = tuple[str, str, str]
"""Account, kind (external, email, phone), value."""


def keys_of(account: str, claim: ContactClaim) -> list[Key]:
    """By what the claimed contact can be recognised, strongest first."""
    keys: list[Key] = []
    if claim.external_id:
        keys.append((account, "external", claim.external_id))
    if claim.email and claim.email.strip():
        keys.append((account, "email", claim.email.strip().lower()))
    if claim.phone and (phone := "".join(c for c in claim.phone if c.isdigit() or c == "+")):
        keys.append((account, "phone", phone))
    return keys


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
        shares an address; two different external ids are never one contact.
        """
        if claim is None:
            return self._make(account, now)
        keys = keys_of(account, claim)
        contact = self._known(keys, claim.external_id) or self._make(account, now)
        self._fill_in(contact, claim)
        for key in keys:
            if key not in self.by_key:
                self.by_key[key] = self.new_keys[key] = contact.id
        return contact

    def _known(self, keys: list[Key], external_id: str | None) -> Contact | None:
        for key in keys:
            contact = self.contacts.get(self.by_key[key]) if key in self.by_key else None
            if contact is None:
                continue
            if key[1] == "external" or external_id is None or contact.external_id in (None, external_id):
                return contact
        return None

    def _make(self, account: str, now: datetime) -> Contact:
        contact = Contact(self.new_id(), account, now)
        self.contacts[contact.id] = self.changed[contact.id] = contact
        return contact

    def _fill_in(self, contact: Contact, claim: ContactClaim) -> None:
        before = (contact.external_id, contact.name, contact.phone, contact.email, contact.tier)
        contact.external_id = contact.external_id or claim.external_id or None
        contact.name = claim.name or contact.name
        contact.phone = claim.phone or contact.phone
        contact.email = claim.email or contact.email
        contact.tier = claim.tier or contact.tier
        if before != (contact.external_id, contact.name, contact.phone, contact.email, contact.tier):
            self.changed[contact.id] = contact
