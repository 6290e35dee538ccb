"""`kefu reporting`."""

import click

from kefu_common import service
from kefu_common.settings import DatabaseSettings
from kefu_reporting.app import create


@click.group()
def reporting() -> None:
    """Reporting: counts tickets and answers reports."""


@reporting.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8004, show_default=True)
def serve(port: int) -> None:
    """Read the ticket events and serve the reports until SIGTERM."""
    settings = DatabaseSettings()
    raise SystemExit(service.serve("reporting", create(settings), settings, port))
