"""What the headers say of an e-mail that an adapter took apart itself."""

from collections.abc import Mapping

from kefu_intake.domain.mail.automatic import auto_of
from kefu_intake.domain.mail.reading import ids_in


def marks_of(headers: Mapping[str, str | list[str]]) -> dict[str, object]:
    """Its own id, those of its thread, and whether a program wrote it; what is not said is left out."""
    named = {name.lower(): [value] if isinstance(value, str) else list(value) for name, value in headers.items()}
    content_type = " ".join(named.get("content-type", ())).lower()
    is_report = "multipart/report" in content_type and "disposition-notification" not in content_type
    sender = " ".join(named.get("from", ()))
    is_null = " ".join(named.get("return-path", ())).strip() == "<>"
    ids = {name: [id for value in named.get(name, ()) for id in ids_in(value)] for name in _ID_HEADERS}
    found: dict[str, object] = {
        "message_id": next(iter(ids["message-id"]), None),
        "references": ids["references"] or ids["in-reply-to"],
        "auto": auto_of(named, sender.rpartition("<")[2], is_report, is_null),
    }
    return {name: value for name, value in found.items() if value}


_ID_HEADERS = ("message-id", "references", "in-reply-to")
