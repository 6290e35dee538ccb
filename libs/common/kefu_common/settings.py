"""What a deployment sets, by environment variables that begin with `KEFU_`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Settings that every service has. Each service's own settings extend these."""

    model_config = SettingsConfigDict(env_prefix="KEFU_", extra="ignore")

    kafka: str = "127.0.0.1:8092"
    """Bootstrap servers, comma separated."""
    topic_prefix: str = ""
    """Put before every topic name and consumer group, so that several Kefus can share a Kafka."""
    operator_key: SecretStr = SecretStr("")
    """The key of whoever runs Kefu: makes accounts and tops up credit. Empty: nobody can."""
    sealing_keys: SecretStr = SecretStr("")
    """Fernet keys with commas between them, the newest first: they seal secrets in the directory. Empty: no key can
    sign requests, and mails carry no ticket tag."""
    slot: str = "0"
    """Which replica this is, 0, 1, …: stable over restarts, unique among the running ones."""
    host: str = "127.0.0.1"
    log_level: str = "INFO"
    trace_ratio: float = Field(default=0.1, ge=0, le=1)
    """The share of requests without a trace context of their own that are traced."""


class ObjectSettings(ServiceSettings):
    """Settings of a service that touches the object store."""

    objects: str = ".kefu/objects"
    """A folder, or a URL such as `s3://bucket/prefix`: see `objects.py`."""


class DatabaseSettings(ServiceSettings):
    """Settings of a service that owns a schema."""

    postgres: SecretStr = SecretStr("")
    """DSN of the service's role, whose search path is the service's schema."""
    pool_size: int = Field(default=16, ge=4, le=100)
    batch_size: int = Field(default=500, ge=1, le=5000)
    """The most events of one transaction."""
