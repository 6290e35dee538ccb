"""What can be seen while the demo runs: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from kefu_local.demo.pace import HOUR_MIN
from kefu_local.demo.tally import CHANNELS

NAMES = {"call": "calls", "chat": "chats", "email": "e-mails", "message": "messages"}
LINE_EVERY_MIN = 5.0


class Screen:
    """Use as a context manager around the hour."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.every_s = 0.2
        self._next_line_min = LINE_EVERY_MIN
        columns = (TextColumn("{task.fields[clock]}"), BarColumn(24), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        self._task = self._progress.add_task("", total=HOUR_MIN, clock="09:00") if self._progress else None

    def __enter__(self) -> "Screen":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, minute: float, clock: str, opened: Mapping[str, int], waiting: int, resolved: int) -> None:
        came = " · ".join(f"{NAMES[channel]} {opened.get(channel, 0)}" for channel in CHANNELS)
        line = f"{came} · waiting {waiting} · resolved {resolved}"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=minute, description=line, clock=clock)
        elif minute >= self._next_line_min:
            self._next_line_min = (minute // LINE_EVERY_MIN + 1) * LINE_EVERY_MIN
            self.say(f"{clock}  {line}")

    def say(self, line: str) -> None:
        if self._progress is None:
            self.console.print(line, highlight=False, soft_wrap=True)
        elif self._task is not None:
            self._progress.update(self._task, description=line)
