"""What contacts write: kept with the ticket, and told to whom it must be told."""

from datetime import datetime
from typing import Any

from kefu_common.events import interactions as said
from kefu_common.events import tickets as happened
from kefu_common.events.envelope import Event
from kefu_common.events.interactions import InteractionData
from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Occasion
from kefu_routing.domain.model import Contact, Message, Ticket
from kefu_routing.domain.work import Work


def may_be_answered(data: InteractionData) -> bool:
    """Whether whoever wrote it can be written to: nothing answers a program's reply, a bounce or a loop."""
    return not isinstance(data, said.EmailReceived) or data.auto is None or data.auto.may_be_answered


def receive_mail(work: Work, joined: Ticket, event: Event[InteractionData], mail: said.EmailReceived) -> None:
    """Keep an e-mail with its ticket, and where our reply belongs in its thread."""
    if mail.auto is None and mail.message_id is not None:
        # The first and the last id of the thread are what mail programs need to show our reply in it.
        joined.thread = [*(joined.thread or mail.references or [])[:1], mail.message_id]
    text = mail.text or mail.html or ""
    receive(work, joined, event, text, mail.attachments, subject=mail.subject, html=mail.html, auto=mail.auto)


def receive(
    work: Work,
    joined: Ticket,
    event: Event[InteractionData],
    text: str,
    attachments: list[said.AttachmentRef],
    **more: Any,
) -> None:
    """Keep what the contact said."""
    files = [a.model_dump(exclude_none=True) for a in attachments]
    given: dict[str, Any] = {"attachments": files, "interaction": event.subject, **more}
    message = Message(work.new_id(), joined.account, joined.id, event.time, "contact", text, **given)
    work.messages.append(message)
    work.happen(joined, happened.TicketMessageReceived, event.time, message=message.id)


def tell_administrators(work: Work, joined: Ticket, contact: Contact, left: said.MessageLeft, at: datetime) -> None:
    """Every message left, site open or not, goes to the administrators (O-03), with the addresses that it names."""
    named = left.contact or contact
    reachable = " / ".join(a for a in (named.phone, named.email) if a) or None
    wanted = MessageWanted(
        occasion=Occasion.OFFLINE_MESSAGE,
        ticket=joined.id,
        contact=contact.id,
        channel=joined.channel,
        roles=["administrator"],
        text=left.text,
        name=named.name or contact.name,
        reachable=reachable,
    )
    work.want(joined, at, wanted)
