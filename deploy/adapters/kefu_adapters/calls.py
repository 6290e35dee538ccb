"""What Asterisk's events mean to Kefu, and Kefu's instructions to Asterisk: pure, without socket or clock.

Source: Asterisk 20, Manager events and actions (AMI).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from kefu_client import Event, Instruction

Ami = Mapping[str, str]
"""An event or an action: its headers in order."""
_EXTENSION: Final = re.compile(r"^[A-Za-z0-9]+/([^-@/]+)")
"""`PJSIP/8001-0000001a` is a channel of extension 8001."""
_NUMBERS: Final = re.compile(r"[0-9+*#]{1,40}")
_CAUSES: Final = {"16": "normal", "17": "busy", "18": "no_answer", "19": "no_answer", "21": "rejected", "31": "normal"}
"""Q.850 causes in words; others as Asterisk says them."""

_REASONS: Final = {"0": "no such phone", "1": "no answer", "3": "no answer", "5": "busy", "8": "congested"}
"""Of an OriginateResponse that failed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a bridge has to be told."""

    site: str
    contexts: frozenset[str]
    """Where calls from outside arrive in the dial plan."""
    source: str | None = "hotline"
    agents: Mapping[str, str] = field(default_factory=dict)
    """The agent of each extension; an extension that is not there is an agent's id itself."""
    technology: str = "PJSIP"
    say_context: str = "kefu-say"
    """Dial plan that says the text in KEFU_TEXT to the caller, then sends the user event KefuSaid, and hangs up if the
    variable KEFU_HANG_UP is 1."""


@dataclass(slots=True)
class Call:
    """A call from outside, by its Linkedid, which every channel that belongs to it shows."""

    id: str
    channel: str
    began_at: datetime
    answered_at: datetime | None = None
    agent: str | None = None
    recording: str | None = None
    is_hearing: bool = False
    """Whether the dial plan says a text to the caller just now."""
    posted: int = 0


class Calls:
    """The calls that are going on."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.going: dict[str, Call] = {}
        self._rings: dict[str, Instruction] = {}
        """Phones that were asked to ring, until Asterisk says what became of it."""

    def heard(self, event: Ami, now: datetime) -> list[Event]:
        """What an event of Asterisk says to Kefu. Its own time counts (`timestampevents=yes`), else now."""
        at = _time_of(event) or now
        call = self.going.get(event.get("Linkedid", ""))
        match event.get("Event"):
            case "Newchannel" if self._is_from_outside(event):
                return [self._started(event, at)]
            case "BridgeEnter" if call is not None and event.get("Uniqueid") != call.id:
                return self._answered(call, event, at)
            case "Hold" if call is not None:
                return [self._event(call, "call.held", at)]
            case "Unhold" if call is not None:
                return [self._event(call, "call.resumed", at)]
            case "BlindTransfer" if (moved := self._transferred(event)) is not None:
                return [self._event(moved, "call.transferred", at, to=self._agent_of(event.get("Extension", "")))]
            case "VarSet" if call is not None and event.get("Variable") == "MIXMONITOR_FILENAME":
                call.recording = event.get("Value")
            case "UserEvent" if call is not None and event.get("UserEvent") == "KefuSaid":
                call.is_hearing = False
            case "OriginateResponse" if (ring := self._rings.pop(event.get("ActionID", ""), None)) is not None:
                return [self._outcome(ring, event, at)]
            case "Hangup" if call is not None and event.get("Uniqueid") == call.id:
                cause = event.get("Cause", "")
                return [self._ended(call, _CAUSES.get(cause, event.get("Cause-txt", cause)), at)]
        return []

    def missed(self, still_there: frozenset[str], now: datetime) -> list[Event]:
        """After a lost connection: calls whose channel is gone have ended meanwhile."""
        gone = [call for id, call in self.going.items() if id not in still_there]
        return [self._ended(call, "lost", now) for call in gone]

    def actions_for(self, instruction: Instruction, now: datetime) -> list[dict[str, str]] | None:
        """What Asterisk is asked; None when it cannot be done: another kind, or the call is over."""
        call = self.going.get(instruction.interaction)
        data = instruction.data
        match instruction.type:
            case "call.cancel":
                return [{"Action": "Hangup", "Channel": ringing(str(data["offer"]))}]
            case "call.ring" if call is not None:
                self._rings[instruction.id] = instruction
                left_ms = int((instruction.expires_at - now).total_seconds() * 1000)
                phone = str(data.get("phone") or data["agent"])
                return [
                    {
                        "Action": "Originate",
                        "ActionID": instruction.id,
                        "ChannelId": ringing(str(data["offer"])),
                        "Channel": f"{self._terms.technology}/{phone}",
                        "Application": "Bridge",
                        "Data": call.channel,
                        "Timeout": str(max(1, left_ms)),
                        "Async": "true",
                    }
                ]
            case "call.play" if call is not None:
                call.is_hearing = True
                text = " ".join(str(data["text"]).split())
                return [
                    {"Action": "Setvar", "Channel": call.channel, "Variable": "KEFU_TEXT", "Value": text},
                    {
                        "Action": "Redirect",
                        "ActionID": instruction.id,
                        "Channel": call.channel,
                        "Context": self._terms.say_context,
                        "Exten": "s",
                        "Priority": "1",
                    },
                ]
            case "call.hang_up" if call is not None and call.is_hearing:
                # Whoever is told that nobody is there shall hear it to the end: the dial plan hangs up behind the text.
                hang_up = {"Variable": "KEFU_HANG_UP", "Value": "1"}
                return [{"Action": "Setvar", "ActionID": instruction.id, "Channel": call.channel, **hang_up}]
            case "call.hang_up" if call is not None:
                return [{"Action": "Hangup", "ActionID": instruction.id, "Channel": call.channel, "Cause": "16"}]
        return None

    def _is_from_outside(self, event: Ami) -> bool:
        is_first = event.get("Uniqueid") == event.get("Linkedid") and event.get("Linkedid") not in self.going
        return is_first and event.get("Context") in self._terms.contexts

    def _started(self, event: Ami, at: datetime) -> Event:
        call = Call(event["Linkedid"], event.get("Channel", ""), at)
        self.going[call.id] = call
        number = event.get("CallerIDNum", "")
        name = event.get("CallerIDName", "")
        contact = {"phone": number} if _NUMBERS.fullmatch(number) else {}
        if name not in ("", "<unknown>", number):
            contact["name"] = name
        started = self._event(call, "call.started", at, **{"from": number, "to": event.get("Exten", "")})
        if contact:
            started["contact"] = {"phone": contact.get("phone"), "name": contact.get("name")}
        return started

    def _answered(self, call: Call, event: Ami, at: datetime) -> list[Event]:
        agent = self._agent_of_channel(event.get("Channel", ""))
        if agent is None or agent == call.agent:
            return []
        call.agent, call.answered_at = agent, call.answered_at or at
        return [self._event(call, "call.answered", at, agent=agent)]

    def _transferred(self, event: Ami) -> Call | None:
        return self.going.get(event.get("TransfereeLinkedid", "")) or self.going.get(
            event.get("TransfererLinkedid", "")
        )

    def _ended(self, call: Call, cause: str, at: datetime) -> Event:
        del self.going[call.id]
        self._rings = {id: ring for id, ring in self._rings.items() if ring.interaction != call.id}
        began = call.answered_at or call.began_at
        ended = self._event(call, "call.ended", at, cause=cause, duration_s=max(0.0, (at - began).total_seconds()))
        if call.recording and ended["data"] is not None:
            ended["data"]["recording"] = call.recording
        return ended

    def _outcome(self, ring: Instruction, event: Ami, at: datetime) -> Event:
        """Of a ring: it was picked up, or why not. Meanwhile a cancellation must not wait for it."""
        is_done = event.get("Response") == "Success"
        reason = event.get("Reason", "")
        data = {"instruction": ring.id} | ({} if is_done else {"reason": _REASONS.get(reason, f"reason {reason}")})
        return {
            "id": f"{ring.id}.ring",
            "type": "instruction.done" if is_done else "instruction.failed",
            "site": ring.site,
            "interaction": ring.interaction,
            "occurred_at": at.isoformat(),
            "data": data,
        }

    def _event(self, call: Call, type: str, at: datetime, **data: object) -> Event:
        """Numbered within its call, so that the same events of Asterisk make the same ids."""
        call.posted += 1
        return {
            "id": f"{call.id}.{call.posted}",
            "type": type,
            "site": self._terms.site,
            "interaction": call.id,
            "occurred_at": at.isoformat(),
            "source": self._terms.source,
            "data": data,
        }

    def _agent_of_channel(self, channel: str) -> str | None:
        found = _EXTENSION.match(channel)
        return None if found is None else self._agent_of(found[1])

    def _agent_of(self, extension: str) -> str:
        return self._terms.agents.get(extension, extension)


def ringing(offer: str) -> str:
    """The id of the channel that rings for an offer."""
    return f"kefu-{offer}"


def read_messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The messages of a recorded session: headers, and an empty line after each."""
    message: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.rstrip("\r\n").partition(":")
        if colon:
            message[name.strip()] = value.strip()
        elif not name.strip() and message:
            yield message
            message = {}
    if message:
        yield message


def _time_of(event: Ami) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(event.get("Timestamp", "")), UTC)
    except (ValueError, OverflowError, OSError):
        return None
