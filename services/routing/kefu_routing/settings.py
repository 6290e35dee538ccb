"""What a deployment sets for routing."""

from kefu_common.settings import DatabaseSettings, ObjectSettings


class RoutingSettings(DatabaseSettings, ObjectSettings):
    """Settings of the routing service, by environment variables that begin with `KEFU_`."""

    public_url: str = ""
    """How readers reach this service, in front of links to attachments; unset: as the request that asks came in."""
