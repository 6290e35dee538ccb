"""How the sink misbehaves, when it is told to, so that failures of providers can be tried out."""

import random

from pydantic import BaseModel, ConfigDict, Field


class ChannelBehaviour(BaseModel):
    """Each message is delayed, then perhaps refused, then perhaps accepted without the sender ever hearing of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fail_ratio: float = Field(default=0.0, ge=0, le=1)
    """Share refused: HTTP 500, SMTP 451."""
    delay_s: float = Field(default=0.0, ge=0, le=3600)
    drop_after_accept_ratio: float = Field(default=0.0, ge=0, le=1)
    """Share that is kept, and then the connection is cut before the answer."""
    honour_idempotency: bool = True
    """Whether the same key twice is one message. E-mail: the `Message-ID`, which no real mail server promises."""

    def fails(self) -> bool:
        return random.random() < self.fail_ratio

    def drops(self) -> bool:
        return random.random() < self.drop_after_accept_ratio


class Behaviour(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    email: ChannelBehaviour = ChannelBehaviour(honour_idempotency=False)
    sms: ChannelBehaviour = ChannelBehaviour()


class Switch:
    """The behaviour in force."""

    def __init__(self) -> None:
        self.now = Behaviour()
