"""What a batch of interactions begins with, in one question: it is asked many times a second."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from kefu_common.postgres.database import Connection
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


async def read(
    tx: Connection,
    accounts: Collection[str],
    places: Collection[Place],
    started: Collection[Place],
    identities: Collection[Key],
) -> Beginning:
    """Read it for these accounts, for all `places` of the batch, and for those that are `started` by it.

    Locks these identities of contacts on the way, see `contacts.lock_identities`.
    """
    rows = await tx.fetch(
        "select 'account' as what, id as account, null as interaction, directory_version, null::uuid as ticket,"
        " null as holder from accounts where id = any($1::text[])"
        " union all select 'interaction', i.account, i.id, null, i.ticket, t.holder"
        " from unnest($2::text[], $3::text[]) k (account, id) join interactions i using (account, id)"
        " join tickets t on t.id = i.ticket"
        " union all select 'early', null, null, null, null, null where exists (select from"
        " unnest($4::text[], $5::text[]) k (account, interaction) join early_events using (account, interaction))"
        " union all select 'locked', null, null, count(*), null, null"
        f" from ({contacts.LOCK_IDENTITIES.format('$6')}) locked",
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
        {(row["account"], row["interaction"]): row["ticket"] for row in known},
        {(row["account"], row["interaction"]): row["holder"] for row in known if row["holder"] is not None},
        any(row["what"] == "early" for row in rows),
    )
