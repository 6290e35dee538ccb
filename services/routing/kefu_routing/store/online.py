"""Whether somebody is there."""

from collections.abc import Collection

from kefu_common.postgres.database import Reader


async def available(tx: Reader, accounts: Collection[str]) -> set[tuple[str, str]]:
    """The agents of these accounts who are available, and not about to do something else, by account and id."""
    return await _agents(tx, accounts, "state = 'available' and next_state is null")


async def there(tx: Reader, accounts: Collection[str]) -> set[tuple[str, str]]:
    """The agents who are there, though perhaps busy or at after-call work: whoever comes now is answered soon."""
    return await _agents(tx, accounts, "state in ('available', 'busy', 'after_call')")


async def _agents(tx: Reader, accounts: Collection[str], condition: str) -> set[tuple[str, str]]:
    # The primary key of seats begins with the account, and there is one row for each agent.
    rows = await tx.fetch(
        f"select account, agent from seats where account = any($1::text[]) and {condition}", sorted(accounts)
    )
    return {(row["account"], row["agent"]) for row in rows}
