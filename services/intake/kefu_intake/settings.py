"""What a deployment sets for intake, besides what every service has."""

from pydantic import Field

from kefu_common.settings import ObjectSettings


class IntakeSettings(ObjectSettings):
    """Environment variables beginning with `KEFU_`."""

    in_flight_events: int = Field(default=2000, ge=1, le=1_000_000)
    """Events that may wait for Kafka at the same time; over it posts get 503 at once."""
    in_flight_bytes: int = Field(default=64 * 1024 * 1024, ge=2 * 1024 * 1024)
    """The same, counted in bytes: large events must not fill the memory while Kafka is away."""
    large_bytes: int = Field(default=128 * 1024 * 1024, ge=30 * 1024 * 1024)
    """Bytes of mails and attachments that may be in hand at the same time; over it posts get 503 at once."""
    replicas: int = Field(default=1, ge=1, le=1000)
    """How many intakes share the work: each enforces its share of a key's rate."""
    lmtp: str = ""
    """host:port where mail servers deliver by LMTP or SMTP; empty: nowhere."""
    lmtp_connections: int = Field(default=16, ge=1, le=1000)
    """Mail servers may open so many connections at the same time; each may hold a mail of 30 MiB."""
    drain_s: float = Field(default=1.0, ge=0, le=60)
    """How long the port stays open after SIGTERM, so that whoever is about to post gets an answer."""
