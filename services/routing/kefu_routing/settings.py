"""What a deployment sets for routing."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from kefu_common.settings import DatabaseSettings, ObjectSettings


class Issuer(BaseModel):
    """An OpenID Connect provider whose people sign in to an account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(pattern=r"^https?://[^\s?#]+$")
    client_id: str = Field(min_length=1)
    client_secret: SecretStr


class RoutingSettings(DatabaseSettings, ObjectSettings):
    """Settings of the routing service, by environment variables that begin with `KEFU_`."""

    public_url: str = ""
    """How readers reach this service, in front of links to attachments; unset: as the request that asks came in."""
    reset_url: str = ""
    """The page that asks for a new password, `{token}` in place of the mail's token; unset: the mail holds that."""
    oidc: dict[str, Issuer] = Field(default_factory=dict)
    """By account, as JSON: `{"acme": {"issuer": "https://…", "client_id": "…", "client_secret": "…"}}`."""
