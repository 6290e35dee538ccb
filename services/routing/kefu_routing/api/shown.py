"""How tickets, messages and contacts look to callers."""

from typing import Any

import nh3

from kefu_common.attachments import parse_ref
from kefu_routing.domain.changes import NEVER_SHOWN
from kefu_routing.domain.model import Contact, Message, Ticket


def directory_object(body: dict[str, Any]) -> dict[str, Any]:
    """An object of the directory as JSON: of a key and its former secret only until when the latter is in force."""
    visible = {name: value for name, value in body.items() if name not in NEVER_SHOWN}
    former = visible.pop("former", None)
    return visible if former is None else {**visible, "former_valid_until": former["until"]}


def ticket(shown: Ticket) -> dict[str, Any]:
    """A ticket as JSON."""
    return {
        "id": shown.id,
        "account": shown.account,
        "site": shown.site,
        "kind": shown.kind,
        "status": shown.status,
        "reason": shown.reason,
        "channel": shown.channel,
        "source": shown.source,
        "category": shown.category,
        "tier": shown.tier,
        "group": shown.group,
        "handler": shown.handler,
        "owner": shown.owner,
        "contact": shown.contact,
        "interaction": shown.interaction,
        "subject": shown.subject,
        "priority": shown.priority,
        "tags": shown.tags,
        "sequence": shown.sequence,
        "opened_at": shown.opened_at,
        "due_at": shown.due_at,
        "answered_at": shown.answered_at,
        "replied_at": shown.replied_at,
        "offer": shown.offer,
        "unattended_since": shown.unattended_since,
    }


def message(shown: Message, base: str = "") -> dict[str, Any]:
    """One utterance as JSON; `state` tells of replies what became of them. Links begin with `base`."""
    place = f"{base}/v1/tickets/{shown.ticket}/messages/{shown.id}/attachments"
    return {
        "id": shown.id,
        "at": shown.at,
        "from": shown.origin,
        "agent": shown.agent,
        "subject": shown.subject,
        "text": shown.text,
        "html": None if shown.html is None else _safe_html(shown.html),
        "attachments": [_attachment(file, f"{place}/{n}") for n, file in enumerate(shown.attachments)],
        "state": shown.state,
        "auto": shown.auto,
    }


def _attachment(file: dict[str, Any], url: str) -> dict[str, Any]:
    known = parse_ref(file["ref"])
    facts = (None, None, None) if known is None else (known.type, known.size, known.sha256)
    return {
        "name": file.get("name"),
        **dict(zip(("type", "size", "sha256"), facts, strict=True)),
        "content_id": file.get("content_id"),
        "url": url,
    }


def _safe_html(html: str) -> str:
    """A stranger's HTML, without whatever could run in an agent's browser or tell its sender that it was read."""
    return nh3.clean(html, url_schemes=_SCHEMES, attribute_filter=_no_foreign_images)


_SCHEMES = {"http", "https", "mailto", "tel", "cid"}


def _no_foreign_images(tag: str, attribute: str, value: str) -> str | None:
    is_foreign = tag == "img" and attribute == "src" and not value.lower().startswith("cid:")
    return None if is_foreign else value


def contact(shown: Contact) -> dict[str, Any]:
    """A contact as JSON."""
    return {
        "id": shown.id,
        "external_id": shown.external_id,
        "name": shown.name,
        "phone": shown.phone,
        "email": shown.email,
        "tier": shown.tier,
        "created_at": shown.created_at,
    }
