"""From an adapter's form to the event on the topic."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from kefu_common.attachments import parse_ref
from kefu_common.events.envelope import TYPE_PREFIX, Event
from kefu_common.events.interactions import INTERACTION_MODELS, InteractionData
from kefu_common.ids import derived_event_id
from kefu_intake.domain.complaints import Complaint
from kefu_intake.domain.forms import Form
from kefu_intake.domain.identity import uniform_contact, uniform_numbers
from kefu_intake.domain.mail.html_text import with_text
from kefu_intake.domain.mail.marks import marks_of

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


def stamp(
    form: Form, account: str, adapter: str | None, region: str, traceparent: str | None
) -> Event[InteractionData]:
    """The event of a form. The same form always gives the same id and the same data.

    `region` is the country in which the site's numbers are written without a country code.
    """
    type = TYPE_PREFIX + form["type"]
    data = _present(form.get("data"))
    if type == "kefu.call.started":
        data = uniform_numbers(data, region)
    elif "attachments" in data:
        data["attachments"] = [_described(each) for each in _listed(data["attachments"])]
    if type == "kefu.email.received":
        data = _marked(with_text(data))
    data["source"], data["category"] = form.get("source"), form.get("category")
    data["contact"] = _claim(form.get("contact"), region)
    return Event(
        id=derived_event_id(account, form["site"], type, form["id"]),
        type=type,
        source=f"/sites/{form['site']}",
        subject=form["interaction"],
        time=form["occurred_at"].astimezone(UTC),
        account=account,
        data=INTERACTION_MODELS[type].model_validate(data),
        adapter=adapter,
        traceparent=traceparent,
    )


def record_key(event: Event[InteractionData]) -> bytes:
    """What keeps the events of one interaction in order."""
    return f"{event.account}/{event.subject}".encode()


def _present(data: Mapping[str, object] | None) -> dict[str, object]:
    return {} if data is None else {name: value for name, value in data.items() if value is not None}


def _described(attachment: Mapping[str, object]) -> dict[str, object]:
    """With what its reference says of the file."""
    known = parse_ref(str(attachment["ref"]))
    facts = {} if known is None else {"type": known.type, "size": known.size, "sha256": known.sha256}
    return {**attachment, **facts}


def _listed(attachments: object) -> list[Mapping[str, object]]:
    return attachments if isinstance(attachments, list) else []


def _marked(data: dict[str, object]) -> dict[str, object]:
    """An e-mail that an adapter took apart itself, with what its headers say of its thread and its writer."""
    headers = data.get("headers")
    return data | marks_of(headers) if isinstance(headers, dict) and "message_id" not in data else data


def _claim(contact: Mapping[str, str | None] | None, region: str) -> dict[str, object] | None:
    if contact is None:
        return None
    # An empty id or number is no id or number: two contacts who have neither must not become one.
    claimed = {name: value for name, value in contact.items() if value and value.strip()}
    return uniform_contact(claimed, region) if claimed else None
