"""Passwords, second factors and links to new passwords."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kefu_common.events.directory import Agent
from kefu_common.postgres.database import Connection, Reader


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what somebody shows that they are an agent."""

    agent: str
    hash: str | None
    sealed: str | None
    """Of a second factor that is asked for."""
    last_step: int


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor, asked for or not yet."""

    sealed: str
    is_confirmed: bool
    last_step: int


async def by_login(tx: Reader, account: str, login: str) -> Credentials | None:
    """Of the agent with this login, whatever its case, or, for one without a login, this id; None also for two."""
    rows = await tx.fetch(
        "select d.id as agent, p.hash, f.sealed, coalesce(f.last_step, 0) as last_step from directory d"
        " left join passwords p on p.account = d.account and p.agent = d.id"
        " left join second_factors f on f.account = d.account and f.agent = d.id and f.confirmed_at is not null"
        " where d.account = $1 and d.kind = 'agent' and d.body is not null"
        " and lower(coalesce(d.body ->> 'login', d.id)) = lower($2) limit 2",
        account,
        login,
    )
    return Credentials(**rows[0]) if len(rows) == 1 else None


async def by_address(tx: Reader, account: str, address: str) -> str | None:
    """The one agent whose login or e-mail address this is."""
    rows = await tx.fetch(
        "select id from directory where account = $1 and kind = 'agent' and body is not null"
        " and lower($2) in (lower(body ->> 'login'), lower(body ->> 'email')) limit 2",
        account,
        address,
    )
    return rows[0]["id"] if len(rows) == 1 else None


async def by_claims(tx: Reader, account: str, login: str | None, address: str | None) -> str | None:
    """The one agent with this login or this e-mail address, whatever their case; None also for two."""
    rows = await tx.fetch(
        "select id from directory where account = $1 and kind = 'agent' and body is not null"
        " and (lower(body ->> 'login') = lower($2) or lower(body ->> 'email') = lower($3)) limit 2",
        account,
        login,
        address,
    )
    return rows[0]["id"] if len(rows) == 1 else None


async def agent(tx: Reader, account: str, id: str) -> Agent | None:
    """An agent as the directory says now."""
    body = await tx.fetchval(
        "select body from directory where account = $1 and kind = 'agent' and id = $2 and body is not null", account, id
    )
    return None if body is None else Agent.model_validate(body)


async def password_hash(tx: Reader, account: str, agent: str) -> str | None:
    """The hash of the agent's password; None without one."""
    found: str | None = await tx.fetchval(
        "select hash from passwords where account = $1 and agent = $2", account, agent
    )
    return found


async def set_password(tx: Connection, account: str, agent: str, hash: str, now: datetime) -> None:
    """Give an agent a password. Links to another one are void from now on."""
    await tx.execute(
        "insert into passwords (account, agent, hash, changed_at) values ($1, $2, $3, $4)"
        " on conflict (account, agent) do update set hash = excluded.hash, changed_at = excluded.changed_at",
        account,
        agent,
        hash,
        now,
    )
    await tx.execute("delete from password_resets where account = $1 and agent = $2", account, agent)


async def forget(tx: Connection, account: str, agents: Sequence[str]) -> None:
    """Everything by which deleted agents could sign in: another with the same id is somebody else."""
    if agents:
        for table in ("passwords", "second_factors", "sessions", "password_resets"):
            await tx.execute(f"delete from {table} where account = $1 and agent = any($2::text[])", account, agents)


async def factor(tx: Reader, account: str, agent: str) -> Factor | None:
    """The agent's second factor."""
    row = await tx.fetchrow(
        "select sealed, confirmed_at is not null as is_confirmed, last_step from second_factors"
        " where account = $1 and agent = $2",
        account,
        agent,
    )
    return None if row is None else Factor(**row)


async def enrol(tx: Connection, account: str, agent: str, sealed: str) -> bool:
    """Begin a second factor, in place of one that was never confirmed. False when one is in force."""
    made = await tx.fetchval(
        "insert into second_factors as f (account, agent, sealed) values ($1, $2, $3)"
        " on conflict (account, agent) do update set sealed = excluded.sealed, last_step = 0"
        " where f.confirmed_at is null returning agent",
        account,
        agent,
        sealed,
    )
    return made is not None


async def confirm(tx: Connection, account: str, agent: str, step: int, recovery: Sequence[bytes], at: datetime) -> bool:
    """Ask for the second factor from now on. False when it is in force already."""
    done = await tx.fetchval(
        "update second_factors set confirmed_at = $5, last_step = $3, recovery = $4"
        " where account = $1 and agent = $2 and confirmed_at is null returning agent",
        account,
        agent,
        step,
        list(recovery),
        at,
    )
    return done is not None


async def use_step(tx: Reader, account: str, agent: str, step: int) -> bool:
    """Let a code count, if none of its step or a later one has."""
    done = await tx.fetchval(
        "update second_factors set last_step = $3 where account = $1 and agent = $2 and last_step < $3 returning agent",
        account,
        agent,
        step,
    )
    return done is not None


async def use_recovery(tx: Reader, account: str, agent: str, code: bytes) -> bool:
    """Let a recovery code count, if it is one that is left."""
    done = await tx.fetchval(
        "update second_factors set recovery = array_remove(recovery, $3)"
        " where account = $1 and agent = $2 and confirmed_at is not null and $3 = any(recovery) returning agent",
        account,
        agent,
        code,
    )
    return done is not None


async def remove_factor(tx: Connection, account: str, agent: str) -> bool:
    """Ask for no second factor any more. False when there was none."""
    done = await tx.fetchval(
        "delete from second_factors where account = $1 and agent = $2 returning agent", account, agent
    )
    return done is not None


async def open_resets(tx: Connection, account: str, agent: str, now: datetime) -> int:
    """How many links to a new password the agent was mailed that are still good."""
    await tx.execute("delete from password_resets where expires_at <= $1", now)
    count: int = await tx.fetchval(
        "select count(*) from password_resets where account = $1 and agent = $2", account, agent
    )
    return count


async def add_reset(tx: Connection, account: str, agent: str, token: bytes, now: datetime, until: datetime) -> None:
    """A link that is being mailed."""
    await tx.execute(
        "insert into password_resets (token, account, agent, made_at, expires_at) values ($1, $2, $3, $4, $5)",
        token,
        account,
        agent,
        now,
        until,
    )


async def of_reset(tx: Reader, token: bytes, now: datetime) -> tuple[str, str] | None:
    """Account and agent of a link that is still good."""
    row = await tx.fetchrow(
        "select account, agent from password_resets where token = $1 and expires_at > $2", token, now
    )
    return None if row is None else (row["account"], row["agent"])


async def use_reset(tx: Connection, token: bytes, now: datetime) -> bool:
    """Use a link up. False when somebody else has, or it is over."""
    done = await tx.fetchval(
        "delete from password_resets where token = $1 and expires_at > $2 returning token", token, now
    )
    return done is not None
