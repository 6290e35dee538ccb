"""Files that contacts send: what they are, by what they are named in events, and where they lie."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

REF: Final = r"^[0-9a-f]{64}/[0-9]{1,9}/[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$"
"""The form of a reference: SHA-256, size in bytes and type, so that an event can be stamped without a look-up."""
_REF: Final = re.compile(REF)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stored file. The same bytes of the same account are stored once, however often they are sent."""

    sha256: str
    size: int
    type: str
    """Found by looking at the content, never what the sender says."""

    @classmethod
    def of(cls, content: bytes, type: str) -> "Attachment":
        """The file that these bytes are."""
        return cls(hashlib.sha256(content).hexdigest(), len(content), type)

    @property
    def ref(self) -> str:
        """How events name it."""
        return f"{self.sha256}/{self.size}/{self.type}"

    def path(self, account: str) -> str:
        """Where it lies in the object store: an account's files are under its own name, whatever a reference says."""
        return f"{account}/{self.sha256[:2]}/{self.sha256}"


def parse_ref(ref: str) -> Attachment | None:
    """The file that a reference names, or None when it is no reference."""
    if _REF.fullmatch(ref) is None:
        return None
    sha256, size, type = ref.split("/", 2)
    return Attachment(sha256, int(size), type)
