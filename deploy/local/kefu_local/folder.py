"""The folder that a stack keeps everything in (`.kefu/`), its lock, and how files in it are written."""

import fcntl
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kefu_local.errors import AlreadyRunning, DiskFull

NEEDED_MIB = 2048


@dataclass(frozen=True)
class Folder:
    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """Attachments and long bodies."""
        return self.root / "objects"

    @property
    def postgres_file(self) -> Path:
        """Names where the data and the binaries of Postgres lie, which as root may be elsewhere."""
        return self.root / "postgres.json"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def stack_file(self) -> Path:
        """Exists while a stack is ready."""
        return self.root / "stack.json"

    @property
    def children_file(self) -> Path:
        return self.root / "children.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "supervisor.lock"

    def make(self) -> None:
        self.log.mkdir(parents=True, exist_ok=True)


class FolderLock:
    """Held by the one supervisor of a folder for as long as it lives; the kernel frees it when it is killed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyRunning."""
        fd = os.open(self._folder.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise AlreadyRunning(self._folder.root, holder(self._folder)) from None
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def is_locked(folder: Folder) -> bool:
    try:
        fd = os.open(folder.lock_file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(folder: Folder) -> int | None:
    """The pid of the supervisor that holds, or last held, the folder."""
    with suppress(FileNotFoundError, ValueError):
        return int(folder.lock_file.read_text())
    return None


def write_json(path: Path, content: object, *, mode: int = 0o600) -> None:
    """Readers see the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def require_room(*folders: Path) -> None:
    """Raises DiskFull for the first folder with less than 2 GiB free."""
    for folder in folders:
        existing = next(f for f in (folder, *folder.absolute().parents) if f.exists())
        free_mib = shutil.disk_usage(existing).free // 2**20
        if free_mib < NEEDED_MIB:
            raise DiskFull(folder, free_mib, NEEDED_MIB)
