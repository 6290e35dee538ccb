"""What each route needs of whoever asks. Every service has one table of it, and one dependency that enforces it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from kefu_common.permissions import PERMISSIONS


@dataclass(frozen=True, slots=True)
class Need:
    """Who may use a route. All of it must hold, but the operator passes where `or_operator`."""

    permission: str | None = None
    """The word that both the key's scopes and the agent's role must hold."""
    is_public: bool = False
    """Nobody asks who it is."""
    of_agent: bool = False
    """Only for whom acts as an agent. The permission is then the role's alone: of the key it takes `act-as`."""
    of_operator: bool = False
    or_operator: bool = False


Route: TypeAlias = tuple[str, str]
"""Method and path, as the route declares it."""
Needs: TypeAlias = Mapping[Route, Need]

PUBLIC: Final = Need(is_public=True)
KNOWN: Final = Need()
"""Any key or person; what else it takes depends on the body, and the route itself sees to it."""
OWN: Final = Need(of_agent=True)
OPERATOR: Final = Need(of_operator=True)


def work(word: str) -> Need:
    """A need of a command of an agent's, which the agent's role must permit. Raises `KeyError` for another word."""
    PERMISSIONS[word]
    return Need(word, of_agent=True)


def permission(word: str, *, or_operator: bool = False) -> Need:
    """A need of one of the words of `kefu_common.permissions`. Raises `KeyError` for another."""
    PERMISSIONS[word]
    return Need(word, or_operator=or_operator)
