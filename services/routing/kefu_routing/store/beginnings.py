"""What a batch of interactions begins with, in one question: it is asked many times a second."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from kefu_common.events.interactions import InteractionData
from kefu_common.postgres import inbox
from kefu_common.postgres.database import Connection
from kefu_common.postgres.inbox import Incoming
from kefu_routing.domain.identity import Key
from kefu_routing.store import contacts

Place = tuple[str, str]
"""Account and interaction."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known of a batch before anything is locked."""

    versions: dict[str, int]
    """Of the directory of each account that there is."""
    tickets: dict[Place, UUID]
    """The ticket of each interaction that is known."""
    holders: dict[Place, str]
    """Whose hands it fills."""
    has_early: bool
    """Whether events wait for one of the starts."""
    new: set[UUID]
    """The events that had not been seen before."""


READ = f"""
with new as ({inbox.RECORD})
select 'new' as what, null as account, null as interaction, null::bigint as directory_version, event as id,
    null as holder
from new
union all select 'account', id, null, directory_version, null, null from accounts where id = any($3::text[])
union all select 'interaction', i.account, i.id, null, i.ticket, t.holder
from unnest($4::text[], $5::text[]) k (account, id) join interactions i using (account, id)
    join tickets t on t.id = i.ticket
union all select 'early', null, null, null, null, null where exists (
    select from unnest($6::text[], $7::text[]) k (account, interaction) join early_events using (account, interaction)
)
union all select 'locked', null, null, count(*), null, null from ({contacts.LOCK_IDENTITIES.format("$8")}) locked
"""
"""With the arguments that `read` gives it: those of `inbox.RECORD` come first, those of the identities last."""


async def read(
    tx: Connection,
    batch: Incoming[InteractionData],
    accounts: Collection[str],
    places: Collection[Place],
    started: Collection[Place],
    identities: Collection[Key],
) -> Beginning:
    """Record the events of the batch in the inbox, lock these identities, and read what is known meanwhile.

    `places` are all of the batch, `started` those that it starts. Where an event is not new, or is locked by another
    transaction, that one may have changed what was read here: see `Beginning.new` and `contacts.lock_identities`.
    """
    rows = await tx.fetch(
        READ,
        *batch.arguments,
        list(accounts),
        [p[0] for p in places],
        [p[1] for p in places],
        [p[0] for p in started],
        [p[1] for p in started],
        contacts.names_of(identities),
    )
    known = [row for row in rows if row["what"] == "interaction"]
    return Beginning(
        {row["account"]: row["directory_version"] for row in rows if row["what"] == "account"},
        {(row["account"], row["interaction"]): row["id"] for row in known},
        {(row["account"], row["interaction"]): row["holder"] for row in known if row["holder"] is not None},
        any(row["what"] == "early" for row in rows),
        {row["id"] for row in rows if row["what"] == "new"},
    )
