"""Keeping the planner's idea of young tables up to date.

A plan is kept by each connection. One that was made while a table was almost empty may read all of an account to find
one row, and PostgreSQL itself looks for tables that have grown only once a minute.
"""

import asyncio
from typing import Final

from kefu_common.postgres.database import Database, passes
from kefu_common.telemetry import logs

log = logs.get(__name__)

_LOOK_S: Final = 3.0
_SMALL: Final = 500
"""Below so many rows no plan is slow."""
_TARGET: Final = 10
"""A look at 3,000 rows tells how large a table is; the 30,000 of PostgreSQL's default take ten times as long, while
somebody waits for the same core. Its own look, which comes later, keeps to what the operator set."""


async def keep_fresh(db: Database) -> None:
    """Analyse tables that have doubled or changed through and through, until cancelled."""
    while True:
        try:
            await analyze_grown(db)
        except Exception as error:
            if not passes(error):
                raise
            log.warning("statistics_wait", error=type(error).__name__)
        await asyncio.sleep(_LOOK_S)


async def analyze_grown(db: Database) -> list[str]:
    """Analyse once, and return which tables. A table grows ever longer between two times, so the price stays small.

    So are those of which each row has changed ten times over: more often would tell a plan nothing new.
    """
    rows = await db.pool.fetch(
        # A crash loses the counters, but not how many rows the last analysis found.
        "select quote_ident(schemaname) || '.' || quote_ident(s.relname) as name from pg_stat_user_tables s"
        " join pg_class c on c.oid = s.relid where schemaname = current_schema() and n_live_tup >= $1"
        " and (n_live_tup > 2 * c.reltuples or n_mod_since_analyze > 10 * greatest(n_live_tup, c.reltuples))",
        _SMALL,
    )
    names = [row["name"] for row in rows]
    if names:
        async with db.transaction() as tx:
            await tx.execute(f"set local default_statistics_target = {_TARGET}")
            # Those that somebody else analyses or locks now are left for the next time.
            await tx.execute(f"analyze (skip_locked) {', '.join(names)}")
    return names
