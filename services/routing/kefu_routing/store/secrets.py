"""Secrets of accounts that other services need too, sealed in the directory."""

import secrets as random
from typing import Final

from kefu_common.events.directory import Secret
from kefu_common.mail_tags import TAG_SIGNER
from kefu_common.postgres.database import Connection, Database, Reader
from kefu_common.sealing import Sealer
from kefu_common.tokens import SESSION_SIGNER
from kefu_routing.domain.changes import KEFU, By
from kefu_routing.store import directory

_BYTES: Final = 32
_SHARED: Final = (TAG_SIGNER, SESSION_SIGNER)


async def make(tx: Connection, sealer: Sealer, account: str, by: By) -> None:
    """Give a new account the secrets that sign its ticket tags and tokens; without a sealing key it has none."""
    if sealer.is_able:
        for id in _SHARED:
            await _make_one(tx, sealer, account, id, by)


async def _make_one(tx: Connection, sealer: Sealer, account: str, id: str, by: By) -> None:
    sealed = sealer.seal(random.token_urlsafe(_BYTES))
    await directory.add(tx, account, "secret", Secret(id=id, sealed=sealed), by)


async def token_secret(tx: Reader, account: str) -> str | None:
    """The sealed secret that signs the account's tokens; None before routing was started with a sealing key."""
    found = await directory.get(tx, account, "secret", SESSION_SIGNER)
    return None if found is None else Secret.model_validate(found[0]).sealed


async def make_missing(db: Database, sealer: Sealer) -> None:
    """The same for accounts from before there were tags, tokens, or sealing keys."""
    if not sealer.is_able:
        return
    async with db.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock(hashtextextended('kefu.secrets', 0))")
        lacking = await tx.fetch(
            "select a.id as account, s.id from accounts a cross join unnest($1::text[]) s (id) where not exists"
            " (select from directory d where d.account = a.id and d.kind = 'secret' and d.id = s.id)"
            " order by a.id, s.id",
            list(_SHARED),
        )
        for row in lacking:  # once in an account's life, when a deployment first has a sealing key
            await _make_one(tx, sealer, row["account"], row["id"], KEFU)
