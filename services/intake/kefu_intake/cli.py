"""`kefu intake`: running the service."""

import sys

import click

from kefu_common.service import serve as serve_app
from kefu_intake.settings import IntakeSettings


@click.group()
def intake() -> None:
    """Takes what channel adapters post."""


@intake.command()
@click.option("--port", default=8001, show_default=True)
def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    from kefu_intake.app import build

    settings = IntakeSettings()
    sys.exit(serve_app("intake", build(settings), settings, port, settings.drain_s))
