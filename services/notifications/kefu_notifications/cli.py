"""`kefu notifications …`."""

import sys

import click

from kefu_common.service import serve as serve_app
from kefu_notifications.app import make_app
from kefu_notifications.settings import NotificationsSettings


@click.group()
def notifications() -> None:
    """Messages to people, and feeds to other systems."""


@notifications.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8003, show_default=True)
def serve(port: int) -> None:
    """Serve HTTP, read the topics, and send."""
    settings = NotificationsSettings()
    sys.exit(serve_app("notifications", make_app(settings), settings, port))
