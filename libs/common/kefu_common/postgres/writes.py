"""Several writes in one statement: what each costs is mostly its way to the server and back."""

import re
from collections.abc import Callable
from typing import Any

from kefu_common.postgres.database import Connection

_PARAMETER = re.compile(r"\$(\d+)")


class Writes:
    """Statements that change rows and do not depend on each other, gathered and sent together.

    All of them see the tables as they were before the first. Two must not change the same row, and none may read what
    another writes; then it makes no difference in which order they run.
    """

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._arguments: list[Any] = []

    def add(self, statement: str, *arguments: Any) -> None:
        """Add an `insert`, `update` or `delete`; its parameters are its own, from $1 on."""
        first = len(self._arguments)
        numbered: Callable[[re.Match[str]], str] = lambda found: f"${first + int(found[1])}"  # noqa: E731
        self._statements.append(_PARAMETER.sub(numbered, statement))
        self._arguments += arguments

    async def run(self, tx: Connection) -> None:
        """Send what was gathered, and begin anew."""
        statements, arguments = self._statements, self._arguments
        self._statements, self._arguments = [], []
        if len(statements) == 1:
            await tx.execute(statements[0], *arguments)
        elif statements:
            parts = ", ".join(f"w{number} as ({statement})" for number, statement in enumerate(statements))
            await tx.execute(f"with {parts} select", *arguments)
