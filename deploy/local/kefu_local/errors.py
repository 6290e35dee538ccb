"""What can stand in the way of a stack on one machine. Each message is one line that says what to do.

LocalError
├── BadSetting            an environment variable that cannot be used
├── PortsTaken            somebody else listens where we want to
├── DiskFull              too little room to start
├── NoJava                Kafka and the trace viewer need a JRE
├── JarUnavailable        a jar that cannot be fetched, or is not the one that was locked
├── PostgresUnusable      initdb or the account that runs it
├── AlreadyRunning        one supervisor per folder
├── NotRunning            nothing there to stop or to look at
├── StillRunning          the stack must be down for this
├── StepFailed            topics, migrations, the demo account
└── ChildFailed
    ├── ChildKeepsDying   died again and again before it was ready
    └── ChildNotReady     lives, but was not ready in time
"""

from collections.abc import Mapping
from pathlib import Path


class LocalError(Exception):
    """Shown to people as it is, without a stack trace."""


class BadSetting(LocalError):
    pass


class PortsTaken(LocalError):
    def __init__(self, taken: Mapping[str, int], free_base: int) -> None:
        self.taken = dict(taken)
        names = ", ".join(f"{port} ({name})" for name, port in self.taken.items())
        plural = "s are" if len(self.taken) > 1 else " is"
        super().__init__(
            f"Port{plural} taken on 127.0.0.1: {names}. End what listens there, or use other ports: "
            f"make up KEFU_PORT_BASE={free_base}"
        )


class DiskFull(LocalError):
    def __init__(self, folder: Path, free_mib: int, needed_mib: int) -> None:
        self.folder = folder
        super().__init__(
            f"Only {free_mib} MiB are free in {folder}; make room for at least {needed_mib} MiB, then again."
        )


class NoJava(LocalError):
    pass


class JarUnavailable(LocalError):
    pass


class PostgresUnusable(LocalError):
    pass


class AlreadyRunning(LocalError):
    def __init__(self, folder: Path, pid: int | None) -> None:
        self.pid = pid
        by = f" (process {pid})" if pid else ""
        super().__init__(f"The stack in {folder} is already running{by}: see `make status`, or stop it by `make down`.")


class NotRunning(LocalError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"No stack is running in {folder}: start one by `make up`.")


class StillRunning(LocalError):
    pass


class StepFailed(LocalError):
    pass


class ChildFailed(LocalError):
    def __init__(self, message: str, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        super().__init__(message)


class ChildKeepsDying(ChildFailed):
    def __init__(self, name: str, log: Path, deaths: int, remedy: str) -> None:
        super().__init__(f"{name} died {deaths} times without becoming ready; see {log}. {remedy}", name, log)


class ChildNotReady(ChildFailed):
    def __init__(self, name: str, log: Path, within_s: float, remedy: str) -> None:
        super().__init__(f"{name} was not ready within {within_s:.0f} s; see {log}. {remedy}", name, log)
