"""Kefu for channel adapters: `Kefu` posts events and follows instructions."""

from kefu_client.batching import Batching
from kefu_client.client import Kefu
from kefu_client.events import Accepted, Attachment, Event, FieldError, GaveUp, Refused
from kefu_client.instructions import Delivered, Done, Failed, Instruction, Outcome, Read
from kefu_client.marks import FileMarks, Marks, MemoryMarks
from kefu_client.signing import Signing

__all__ = [
    "Accepted",
    "Attachment",
    "Batching",
    "Delivered",
    "Done",
    "Event",
    "Failed",
    "FieldError",
    "FileMarks",
    "GaveUp",
    "Instruction",
    "Kefu",
    "Marks",
    "MemoryMarks",
    "Outcome",
    "Read",
    "Refused",
    "Signing",
]
