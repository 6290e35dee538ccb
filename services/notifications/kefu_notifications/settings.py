"""What a deployment sets for notifications."""

from typing import Literal

from pydantic import Field, SecretStr

from kefu_common.settings import DatabaseSettings


class NotificationsSettings(DatabaseSettings):
    """Settings of the notifications service, by environment variables that begin with `KEFU_`."""

    smtp: str = "127.0.0.1:8025"
    """host:port of the mail server."""
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["none", "starttls", "tls"] = "none"
    mail_from: str = "no-reply@kefu.example"
    """The sender of e-mails: an address, or `Name <address>`."""
    sms_url: str = "http://127.0.0.1:8026/sms"
    """Where SMS are posted as `{"id", "to", "text"}`."""
    sms_token: SecretStr = SecretStr("")
    """Sent as a bearer token, when set."""
    sms_segment_fen: int = Field(default=5, ge=0, le=10_000)
    """The price of one segment."""
    sends_at_once: int = Field(default=8, ge=1, le=100)
    """How many messages of each medium are on their way at the same time."""
    retry_base_s: float = Field(default=1.0, gt=0, le=60)
    """The pause after a first failed attempt; it doubles with each further one."""

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Host and port; without a port, 25."""
        host, _, port = self.smtp.rpartition(":")
        return (host, int(port)) if host else (port, 25)
