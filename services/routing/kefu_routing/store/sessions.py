"""Sessions of people who signed in, and attempts to sign in that failed."""

from datetime import datetime
from uuid import UUID

from kefu_common.postgres.database import Connection, Reader
from kefu_routing.domain.signing_in import FORGOTTEN_AFTER, Attempts, Session, begun, still_waits

_FORGOTTEN_AT_ONCE = 100


async def begin_attempt(tx: Connection, account: str, login: bytes, now: datetime) -> tuple[float, Attempts | None]:
    """Count an attempt, as failed for now; or say how many seconds nothing is looked at yet.

    Returns also what had failed before, so that an attempt which was no guess can be taken back.
    """
    await tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 1))", f"{account}/{login.hex()}")
    row = await tx.fetchrow(
        "select failures, last_at, next_at from sign_in_attempts where account = $1 and login = $2", account, login
    )
    known = None if row is None else Attempts(**row)
    wait_s = still_waits(known, now).total_seconds()
    if wait_s <= 0:
        await _put(tx, account, login, begun(known, now))
    return wait_s, known


async def take_back(tx: Connection, account: str, login: bytes, before: Attempts | None) -> None:
    """The attempt was no guess: as it was before."""
    if before is None:
        await forget_attempts(tx, account, login)
    else:
        await _put(tx, account, login, before)


async def forget_attempts(tx: Connection, account: str, login: bytes) -> None:
    """It was the right one after all."""
    await tx.execute("delete from sign_in_attempts where account = $1 and login = $2", account, login)


async def _put(tx: Connection, account: str, login: bytes, attempts: Attempts) -> None:
    await tx.execute(
        "insert into sign_in_attempts (account, login, failures, last_at, next_at) values ($1, $2, $3, $4, $5)"
        " on conflict (account, login) do update set failures = excluded.failures, last_at = excluded.last_at,"
        " next_at = excluded.next_at",
        account,
        login,
        attempts.failures,
        attempts.last_at,
        attempts.next_at,
    )
    # Whatever anybody types leaves a row: each attempt also clears away some old ones.
    await tx.execute(
        "delete from sign_in_attempts where (account, login) in (select account, login from sign_in_attempts"
        " where last_at < $1 order by last_at limit $2 for update skip locked)",
        attempts.last_at - FORGOTTEN_AFTER,
        _FORGOTTEN_AT_ONCE,
    )


async def add(tx: Connection, session: Session) -> None:
    """Somebody has signed in."""
    await tx.execute("delete from sessions where ends_at <= $1", session.renewed_at)
    await tx.execute(
        "insert into sessions (id, account, agent, renewal, made_at, renewed_at, ends_at)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        session.id,
        session.account,
        session.agent,
        session.renewal,
        session.made_at,
        session.renewed_at,
        session.ends_at,
    )


async def lock(tx: Connection, id: UUID) -> Session | None:
    """A session, locked; None when it has ended."""
    row = await tx.fetchrow(
        "select id, account, agent, renewal, former_renewal, made_at, renewed_at, ends_at from sessions"
        " where id = $1 for update",
        id,
    )
    return None if row is None else Session(**row)


async def renew(tx: Connection, id: UUID, renewal: bytes, now: datetime, ends_at: datetime) -> None:
    """From now on another secret renews the session, which is locked; what did until now is the former one."""
    await tx.execute(
        "update sessions set former_renewal = renewal, renewal = $2, renewed_at = $3, ends_at = $4 where id = $1",
        id,
        renewal,
        now,
        ends_at,
    )


async def end(tx: Connection, id: UUID) -> None:
    """End a session."""
    await tx.execute("delete from sessions where id = $1", id)


async def end_all(tx: Connection, account: str, agent: str, but: UUID | None = None) -> None:
    """End all sessions of an agent, but for one perhaps."""
    await tx.execute(
        "delete from sessions where account = $1 and agent = $2 and id is distinct from $3", account, agent, but
    )


async def is_over(tx: Reader, id: UUID) -> bool:
    """Whether it has ended."""
    return await tx.fetchval("select id from sessions where id = $1", id) is None


async def use_departure(tx: Connection, state: bytes, now: datetime, expires_at: datetime) -> bool:
    """Sign somebody in who came back from a provider. False when that has been done before."""
    await tx.execute("delete from used_departures where expires_at <= $1", now)
    done = await tx.fetchval(
        "insert into used_departures (state, expires_at) values ($1, $2) on conflict do nothing returning state",
        state,
        expires_at,
    )
    return done is not None
