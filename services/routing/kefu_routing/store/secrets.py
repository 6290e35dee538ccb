"""Secrets of accounts that other services need too, sealed in the directory."""

import secrets as random
from typing import Final

from kefu_common.events.directory import Secret
from kefu_common.mail_tags import TAG_SIGNER
from kefu_common.postgres.database import Connection, Database
from kefu_common.sealing import Sealer
from kefu_routing.domain.changes import KEFU, By
from kefu_routing.store import directory

_BYTES: Final = 32


async def make(tx: Connection, sealer: Sealer, account: str, by: By) -> None:
    """Give a new account the secret that signs its mails' ticket tags; without a sealing key it has none."""
    if sealer.is_able:
        sealed = sealer.seal(random.token_urlsafe(_BYTES))
        await directory.add(tx, account, "secret", Secret(id=TAG_SIGNER, sealed=sealed), by)


async def make_missing(db: Database, sealer: Sealer) -> None:
    """The same for accounts from before there were tags, or sealing keys."""
    async with db.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock(hashtextextended('kefu.secrets', 0))")
        lacking = await tx.fetch(
            "select a.id from accounts a where not exists (select from directory d where d.account = a.id"
            " and d.kind = 'secret' and d.id = $1) order by a.id",
            TAG_SIGNER,
        )
        for row in lacking:  # once in an account's life, when a deployment first has a sealing key
            await make(tx, sealer, row["id"], KEFU)
