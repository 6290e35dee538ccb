"""How tickets, messages and contacts look to callers."""

from typing import Any

from kefu_routing.domain.model import Contact, Message, Ticket


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
    }


def message(shown: Message) -> dict[str, Any]:
    """One utterance as JSON; `state` tells of replies what became of them."""
    return {
        "id": shown.id,
        "at": shown.at,
        "from": shown.origin,
        "agent": shown.agent,
        "subject": shown.subject,
        "text": shown.text,
        "html": shown.html,
        "attachments": shown.attachments,
        "state": shown.state,
    }


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
