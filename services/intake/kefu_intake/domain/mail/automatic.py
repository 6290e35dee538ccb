"""Mails that no person wrote: answering them would start a conversation of machines (RFC 3834, RFC 3464)."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kefu_common.events.words import Auto

_MOST_HOPS: Final = 50
"""A mail that was handed on more often goes in a circle (RFC 5321, section 6.3, which suggests at least 100)."""
_BULK: Final = frozenset({"bulk", "list", "junk"})
_ROBOT_HEADERS: Final = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply")
_DAEMON: Final = re.compile(r"(mailer-daemon|postmaster)@", re.IGNORECASE)
_SUBJECT: Final = re.compile(
    r"[\[【]?(自动回复|自動回覆|自动答复|自動答覆|auto(matic)?[ -]?(reply|response)|out of (the )?office( autoreply)?)"
    r"\s*([:：\]】]|$)",
    re.IGNORECASE,
)
"""QQ's, 163's and Outlook's own words, for programs that say so nowhere else; before the colon only, as people write
of such things too."""
_LOOP_HEADERS: Final = frozenset({"kefu-loop", "x-kefu-loop"})


def auto_of(
    headers: Mapping[str, Sequence[str]],
    sender: str,
    is_report: bool,
    has_null_sender: bool,
) -> Auto | None:
    """What kind of automatic mail it is. `headers` by names in lower case, decoded; the first that holds, holds."""
    submitted = _word(headers, "auto-submitted")
    precedence = _word(headers, "precedence")
    subject = _word(headers, "subject", whole=True)
    if not _LOOP_HEADERS.isdisjoint(headers) or len(headers.get("received", ())) > _MOST_HOPS:
        return Auto.LOOP
    if is_report or has_null_sender or (_DAEMON.match(sender) and submitted != "no"):
        # Programs that answer for a person use the null sender too, and say what they are.
        return Auto.REPLY if submitted == "auto-replied" and not is_report else Auto.BOUNCE
    if submitted == "auto-replied" or precedence == "auto_reply" or any(h.lower() in headers for h in _ROBOT_HEADERS):
        return Auto.REPLY
    if _SUBJECT.match(subject) and submitted != "no":
        return Auto.REPLY
    if submitted not in ("", "no"):
        return Auto.GENERATED
    if precedence in _BULK or "list-id" in headers:
        return Auto.BULK
    return None


def _word(headers: Mapping[str, Sequence[str]], name: str, *, whole: bool = False) -> str:
    value = next(iter(headers.get(name, ())), "").strip()
    return value if whole else value.partition(";")[0].partition("(")[0].strip().lower()
