"""Taking messages to be sent: the lease, the signature, and the charge, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from kefu_common.directory_follower import Directory
from kefu_common.events.words import Medium
from kefu_common.postgres.database import Connection, Database
from kefu_notifications.domain.credit import affordable
from kefu_notifications.domain.planning import Reason, State, is_too_old
from kefu_notifications.domain.segments import segments
from kefu_notifications.domain.texts import Wording, sign
from kefu_notifications.handlers.wanted import signature
from kefu_notifications.store import credit, deliveries, messages
from kefu_notifications.store import settings as store_settings
from kefu_notifications.store.credit import Charge
from kefu_notifications.store.messages import Message, Settled
from kefu_notifications.store.settings import Chosen


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms messages go out: the directory for signatures, and the price of a segment in fen."""

    directory: Directory
    segment_fen: int


async def take(db: Database, medium: Medium, limit: int, terms: Terms) -> list[Message]:
    """Lease what is due and may go now; what may not is held or failed, and said so."""
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        taken = await messages.take(tx, medium, limit)
        if not taken:
            return []
        accounts = sorted({m.account for m in taken})
        # Shared, so that a signature set meanwhile finds what this transaction holds back for the lack of one.
        chosen = await store_settings.of_accounts(tx, accounts, shared=True)
        settled = await _charged(tx, [_signed(m, chosen, terms, now) for m in taken])
        await messages.settle(tx, [_settled(m) for m in settled])
        await deliveries.add(tx, [m for m in settled if m.state is not State.SENDING], now)
    return [m for m in settled if m.state is State.SENDING]


def wording(message: Message) -> Wording:
    """What the message says, with its signature."""
    return sign(Wording(message.subject, message.body), message.occasion, message.medium, message.signature)


def _signed(message: Message, chosen: Mapping[str, Chosen], terms: Terms, now: datetime) -> Message:
    signed_by = signature(chosen.get(message.account, Chosen()), message.account, terms.directory)
    message = replace(message, signature=signed_by)
    if is_too_old(message.occasion, message.happened_at, now, is_forced=message.is_forced):
        return replace(message, state=State.FAILED, reason=Reason.TOO_OLD)
    if message.attempts > 1 and now > message.give_up_at:
        return replace(message, state=State.FAILED, reason=Reason.EXPIRED)
    if message.medium is Medium.EMAIL:
        return message
    if signed_by is None:
        return replace(message, state=State.HELD, reason=Reason.NO_SIGNATURE)
    count = segments(wording(message).body)
    cost_fen = message.cost_fen if message.is_charged else count * terms.segment_fen
    return replace(message, segments=count, cost_fen=cost_fen)


async def _charged(tx: Connection, taken: Sequence[Message]) -> list[Message]:
    """Charge each message once, when it is first taken; what the balance does not pay for is held."""
    owing: dict[str, list[Message]] = {}
    for message in taken:
        if message.state is State.SENDING and message.cost_fen and not message.is_charged:
            owing.setdefault(message.account, []).append(message)
    if not owing:
        return list(taken)
    balances = await credit.lock_balances(tx, sorted(owing))
    charges: list[Charge] = []
    paid: dict[UUID, bool] = {}
    for account, due in owing.items():
        for message, is_paid in zip(due, affordable(balances[account], [m.cost_fen for m in due]), strict=True):
            paid[message.id] = is_paid
            if is_paid:
                charges.append(Charge(account, message.id, message.cost_fen))
    await credit.charge(tx, charges, balances)
    return [_paid(message, paid.get(message.id)) for message in taken]


def _paid(message: Message, is_paid: bool | None) -> Message:
    match is_paid:
        case None:
            return message
        case True:
            return replace(message, is_charged=True)
        case False:
            return replace(message, state=State.HELD, reason=Reason.NO_CREDIT, cost_fen=0)


def _settled(message: Message) -> Settled:
    return Settled(
        message.id,
        message.state,
        message.reason,
        message.signature,
        message.segments,
        message.cost_fen,
        message.is_charged,
    )
