"""Events of `kefu.contacts.v1`: what happened to contacts, by Kefu's own id; public, kept for ever."""

from uuid import UUID

from kefu_common.events.envelope import EventData


class ContactData(EventData):
    """What every contact event says. `subject` of the event is the contact's id."""

    contact: UUID


class ContactVisited(ContactData):
    """The contact looked at a page of the site (H-06)."""

    site: str
    time_zone: str
    """The site's IANA time zone: days of reports are counted in it."""
    source: str | None = None
    """The contact's source if a group of the directory names it, else `other`."""


CONTACT_MODELS: dict[str, type[ContactData]] = {"kefu.contact.visited": ContactVisited}
"""Every type on the topic and its data, by full name."""
