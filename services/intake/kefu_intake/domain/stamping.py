"""From an adapter's form to the event on the topic."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from kefu_common.events.envelope import TYPE_PREFIX, Event
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_common.ids import derived_event_id
from kefu_intake.domain.complaints import Complaint
from kefu_intake.domain.forms import Form

MOST_AHEAD: Final = timedelta(minutes=5)
"""Clocks of adapters may be this much fast."""
MOST_BACK: Final = timedelta(days=7)
"""What is older than the topic keeps events is refused."""


def out_of_time(occurred_at: datetime, now: datetime) -> Complaint | None:
    """Why the time cannot be right, if so."""
    if occurred_at > now + MOST_AHEAD:
        return "occurred_at", "lies more than 5 minutes ahead: check the adapter's clock"
    if occurred_at < now - MOST_BACK:
        return "occurred_at", "lies more than 7 days back"
    return None


def stamp(form: Form, account: str, adapter: str | None, traceparent: str | None) -> Event[InteractionData]:
    """The event of a form. The same form always gives the same id and the same data."""
    type = TYPE_PREFIX + form["type"]
    flat = _present(form.get("data")) | {
        "source": form.get("source"),
        "category": form.get("category"),
        "contact": _claim(form.get("contact")),
    }
    return Event(
        id=derived_event_id(account, form["site"], type, form["id"]),
        type=type,
        source=f"/sites/{form['site']}",
        subject=form["interaction"],
        time=form["occurred_at"].astimezone(UTC),
        account=account,
        data=INTERACTION_MODELS[type].model_validate(flat),
        adapter=adapter,
        traceparent=traceparent,
    )


def record_key(event: Event[InteractionData]) -> bytes:
    """What keeps the events of one interaction in order."""
    return f"{event.account}/{event.subject}".encode()


def _present(data: Mapping[str, object] | None) -> dict[str, object]:
    return {} if data is None else {name: value for name, value in data.items() if value is not None}


def _claim(contact: Mapping[str, str | None] | None) -> dict[str, str] | None:
    # An empty id or number is no id or number: two contacts who have neither must not become one.
    claimed = {} if contact is None else {name: value for name, value in contact.items() if value and value.strip()}
    return claimed or None
