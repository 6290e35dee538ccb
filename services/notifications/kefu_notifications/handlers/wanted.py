"""`message.wanted` → intents to send, in one transaction a batch."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from kefu_common.directory_follower import Directory
from kefu_common.events.directory import Account, Agent, Secret
from kefu_common.events.envelope import Event
from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Medium, Occasion
from kefu_common.kafka.batch import Received
from kefu_common.mail_tags import TAG_SIGNER, make_tag
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Database
from kefu_common.sealing import CannotOpen, Sealer
from kefu_common.telemetry import logs
from kefu_notifications.domain.planning import RESET_LASTS, Intent, Recipients, State, plan
from kefu_notifications.domain.segments import segments
from kefu_notifications.domain.sending import TRIED_FOR
from kefu_notifications.domain.texts import sign, signature_of, tagged
from kefu_notifications.handlers.repeats import set_reused_aside
from kefu_notifications.store import deliveries, messages
from kefu_notifications.store import settings as store_settings
from kefu_notifications.store.messages import NewMessage
from kefu_notifications.store.settings import Chosen

log = logs.get(__name__)


async def on_messages(
    batch: Sequence[Received[MessageWanted]],
    db: Database,
    directory: Directory,
    sealer: Sealer,
    wake: Callable[[], None],
) -> None:
    """Record the intents of a batch; `wake` is called once they are committed."""
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        sifted = await inbox.keep_new(tx, batch)
        accounts = {r.event.account for r in sifted.fresh}
        chosen = await store_settings.of_accounts(tx, sorted(accounts))
        new = [
            message
            for received in sifted.fresh
            for message in _planned(received, chosen.get(received.event.account, Chosen()), directory, sealer, now)
        ]
        recorded = await messages.add(tx, new)
        await deliveries.add(tx, recorded, now)
        await set_reused_aside(tx, sifted)
    wake()


def signature(chosen: Chosen, account: str, directory: Directory) -> str | None:
    """The account's signature in force."""
    known = directory.get(account, "account", Account, account)
    return signature_of(chosen.signature, None if known is None else known.short_name)


def _planned(
    received: Received[MessageWanted], chosen: Chosen, directory: Directory, sealer: Sealer, now: datetime
) -> Iterable[NewMessage]:
    event = received.event
    staff = _recipients(event, chosen, directory)
    is_reset = event.data.occasion is Occasion.PASSWORD_RESET
    signed_by = signature(chosen, event.account, directory)
    is_reply = event.data.occasion is Occasion.REPLY
    ticket = event.data.ticket
    tag = _tag(directory, sealer, event.account, ticket) if is_reply and ticket is not None else None
    for intent in plan(event.data, staff, event.time, now):
        yield NewMessage(
            account=event.account,
            event=event.id,
            happened_at=event.time,
            site=event.site,
            ticket=ticket,
            contact=event.data.contact,
            agent=event.data.agent,
            reply=event.data.message,
            occasion=event.data.occasion,
            medium=intent.medium,
            recipient=intent.to,
            subject=tagged(intent.wording, tag).subject,
            body=intent.wording.body,
            sealed=event.data.text if is_reset else None,
            signature=signed_by,
            segments=_segments(intent, event.data, signed_by),
            state=State.PLANNED if intent.failure is None else State.FAILED,
            reason=intent.failure,
            give_up_at=event.time + RESET_LASTS if is_reset else now + TRIED_FOR,
            traceparent=event.traceparent,
            thread=event.data.thread or [],
        )


def _tag(directory: Directory, sealer: Sealer, account: str, ticket: UUID) -> str | None:
    """The ticket's tag; none where the account has no secret to sign it with, or this process cannot open that."""
    secret = directory.get(account, "secret", Secret, TAG_SIGNER)
    if secret is None or not sealer.is_able:
        return None
    try:
        return make_tag(sealer.open(secret.sealed), ticket)
    except CannotOpen as error:
        log.error("tag_not_made", hint="set KEFU_SEALING_KEYS as in routing", error=str(error))
        return None


def _recipients(event: Event[MessageWanted], chosen: Chosen, directory: Directory) -> Recipients:
    """Whom the account chose, else who has the roles; but a link to a new password is for its agent alone."""
    if event.data.occasion is Occasion.PASSWORD_RESET:
        agent = directory.get(event.account, "agent", Agent, event.data.agent or "")
        return Recipients([agent.email] if agent is not None and agent.email else [])
    return chosen.recipients or _staff(directory, event.account, event.data.roles)


def _staff(directory: Directory, account: str, roles: Sequence[str]) -> Recipients:
    """Everybody with one of the roles; an offline message that names none is for the administrators (O-03)."""
    wanted = set(roles) or {"administrator"}
    people = [a for a in directory.all(account, "agent", Agent) if wanted & set(a.roles)]
    return Recipients([a.email for a in people if a.email], [a.phone for a in people if a.phone])


def _segments(intent: Intent, wanted: MessageWanted, signed_by: str | None) -> int:
    if intent.medium is not Medium.SMS:
        return 0
    return segments(sign(intent.wording, wanted.occasion, intent.medium, signed_by).body)
