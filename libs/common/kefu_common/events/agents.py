"""Events of `kefu.agents.v1`: who is signed in and what they do; public, kept for ever."""

from kefu_common.events.envelope import EventData
from kefu_common.events.words import PresenceState


class AgentData(EventData):
    """What every agent event says."""

    agent: str
    state: PresenceState | None = None
    """The state from now on; none after signing out."""


class AgentSignedIn(AgentData):
    """The agent took a seat."""


class AgentPresenceChanged(AgentData):
    """The agent's state changed; `cause` tells whether a person did it or the lease ran out."""

    cause: str = "agent"


class AgentSignedOut(AgentData):
    """The agent left the seat."""


AGENT_MODELS: dict[str, type[AgentData]] = {
    "kefu.agent.signed_in": AgentSignedIn,
    "kefu.agent.presence_changed": AgentPresenceChanged,
    "kefu.agent.signed_out": AgentSignedOut,
}
"""Every type on the topic and its data, by full name."""
