"""Forgetting: what nobody may ask for any more is deleted in bulk."""

import asyncio
from datetime import UTC, datetime

from kefu_common.postgres import inbox
from kefu_common.postgres.database import Database, passes
from kefu_common.telemetry import logs
from kefu_notifications.domain.planning import RESET_LASTS
from kefu_notifications.store import feed, messages

log = logs.get(__name__)

_EVERY_S = 600.0
_AT_ONCE = 10_000
_LINKS_KEPT = 2 * RESET_LASTS


async def run(db: Database) -> None:
    """Clean up every ten minutes until cancelled."""
    while True:
        try:
            await clean_up(db)
        except Exception as error:
            if not passes(error):
                raise
            log.warning("clean_up_waits", error=type(error).__name__)
        await asyncio.sleep(_EVERY_S)


async def clean_up(db: Database) -> None:
    """Delete feed rows older than 7 days and inbox ids older than 30, and forget links that are over."""
    while True:
        async with db.transaction() as tx:
            if await feed.forget_old(tx, _AT_ONCE) < _AT_ONCE:
                break
    async with db.transaction() as tx:
        await inbox.forget_old(tx)
        await messages.forget_links(tx, datetime.now(UTC) - _LINKS_KEPT)
