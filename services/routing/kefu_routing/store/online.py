"""Whether somebody is there."""

from collections.abc import Collection

from kefu_common.postgres.database import Reader


async def available(tx: Reader, accounts: Collection[str]) -> set[tuple[str, str]]:
    """The agents of these accounts who are available, and not about to do something else, by account and id."""
    rows = await tx.fetch(
        # The primary key of seats begins with the account, and there is one row for each agent.
        "select account, agent from seats where account = any($1::text[]) and state = 'available'"
        " and next_state is null",
        sorted(accounts),
    )
    return {(row["account"], row["agent"]) for row in rows}


async def at_work(tx: Reader, accounts: Collection[str]) -> set[tuple[str, str]]:
    """The agents who are there, though perhaps busy or at after-call work: whoever comes now is answered soon."""
    rows = await tx.fetch(
        "select account, agent from seats where account = any($1::text[])"
        " and state in ('available', 'busy', 'after_call')",
        sorted(accounts),
    )
    return {(row["account"], row["agent"]) for row in rows}
