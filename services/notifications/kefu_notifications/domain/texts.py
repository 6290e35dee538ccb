"""The words in which people are told, and the signature under them. Source: requirements O-03, O-04, O-06, D-12."""

import re
from dataclasses import dataclass
from typing import Final

from kefu_common.events.messages import MessageWanted
from kefu_common.events.words import Medium, Occasion
from kefu_notifications.domain.segments import cut

LINK: Final = "{link}"
"""Where in the words a link belongs that nobody but the recipient may see."""
_RESET: Final = f"""请用下面的链接（或代码）设置新密码。它只能用一次，自提出要求起 30 分钟内有效。
Use this link (or code) to set a new password. It works once, until 30 minutes after it was asked for.

{LINK}

如果这不是您本人的要求，请忽略这封邮件，您的密码不会改变。
If you did not ask for this, ignore this mail: your password stays as it is."""
_NOTICE_UNITS: Final = 150
"""A notice fits three segments together with its signature; the whole text is in the e-mail."""
_MAIL_UNITS: Final = 20_000
"""A notice by e-mail goes to every administrator; all of a longer message is on its ticket."""
_NAME_UNITS: Final = 30
_REACHABLE_UNITS: Final = 50
_REPLY_UNITS: Final = 600
_SUBJECT_UNITS: Final = 200
_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TAG: Final = re.compile(r"\s*\[#[0-9A-Za-z]{20,60}\]")
_ALREADY_REPLY: Final = re.compile(r"^(re|回复)\s*[:：]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wording:
    """What a message says; only an e-mail has a subject."""

    subject: str | None
    body: str


def one_line(text: str) -> str:
    """Every run of blanks, line ends and control characters becomes one space, so that no header can be added."""
    return _BLANKS.sub(" ", text).strip()


def word(wanted: MessageWanted, medium: Medium) -> Wording:
    """The words without a signature, which is added at the moment of sending."""
    match (wanted.occasion, medium):
        case (Occasion.OFFLINE_MESSAGE, Medium.EMAIL):
            return Wording("新的离线留言", _notice_mail(wanted))
        case (Occasion.OFFLINE_MESSAGE, _):
            return Wording(None, _notice_sms(wanted))
        case (Occasion.PASSWORD_RESET, _):
            return Wording("重设密码 / Set a new password", _RESET)
        case (_, Medium.EMAIL):
            return Wording(_reply_subject(wanted.subject), _printable(wanted.text))
        case _:
            return Wording(None, cut(_printable(wanted.text), _REPLY_UNITS))


def sign(wording: Wording, occasion: Occasion, medium: Medium, signature: str | None) -> Wording:
    """The words as they are sent. An SMS begins with its signature (O-06), a reply by e-mail ends with it (O-04)."""
    if not signature:
        return wording
    if medium is Medium.SMS:
        return Wording(None, f"【{signature}】{wording.body}")
    if occasion is Occasion.REPLY:
        return Wording(wording.subject, f"{wording.body.rstrip()}\n\n—— {signature}")
    return Wording(f"【{signature}】{wording.subject}", wording.body)


def with_link(wording: Wording, link: str) -> Wording:
    """The words with the link in its place."""
    return Wording(wording.subject, wording.body.replace(LINK, link))


def tagged(wording: Wording, tag: str | None) -> Wording:
    """The subject with the ticket's tag, by which an answer finds back to it; one that it had is replaced."""
    if wording.subject is None or tag is None:
        return wording
    return Wording(f"{_TAG.sub('', wording.subject).rstrip()} [#{tag}]", wording.body)


def signature_of(chosen: str | None, short_name: str | None) -> str | None:
    """The signature in force: unset is the account's short name, empty is none. Brackets are ours to add."""
    signature = one_line((short_name or "") if chosen is None else chosen).strip("【】 ")
    return signature or None


def _notice_mail(wanted: MessageWanted) -> str:
    lines = [f"{_name(wanted)} 给您留言：", "", cut(_printable(wanted.text), _MAIL_UNITS), ""]
    if wanted.reachable:
        lines.append(f"联系方式：{one_line(wanted.reachable)}")
    if wanted.ticket is not None:
        lines.append(f"工单：{wanted.ticket}")
    return "\n".join(lines)


def _notice_sms(wanted: MessageWanted) -> str:
    before = f"{cut(_name(wanted), _NAME_UNITS)} 留言："
    after = f" 回电 {cut(one_line(wanted.reachable), _REACHABLE_UNITS)}" if wanted.reachable else ""
    return before + cut(one_line(wanted.text), _NOTICE_UNITS - len(before) - len(after)) + after


def _name(wanted: MessageWanted) -> str:
    return one_line(wanted.name or "") or "访客"


def _reply_subject(subject: str | None) -> str:
    line = cut(one_line(subject or ""), _SUBJECT_UNITS)
    if not line:
        return "客服回复"
    return line if _ALREADY_REPLY.match(line) else f"Re: {line}"


def _printable(text: str) -> str:
    return text.replace("\x00", "").strip()
