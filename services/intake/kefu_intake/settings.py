"""What a deployment sets for intake, besides what every service has."""

from pydantic import Field

from kefu_common.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """Environment variables beginning with `KEFU_`."""

    in_flight_events: int = Field(default=2000, ge=1, le=1_000_000)
    """Events that may wait for Kafka at the same time; over it posts get 503 at once."""
    in_flight_bytes: int = Field(default=64 * 1024 * 1024, ge=2 * 1024 * 1024)
    """The same, counted in bytes: large events must not fill the memory while Kafka is away."""
