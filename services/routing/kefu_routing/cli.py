"""`kefu routing`."""

import sys

import click

from kefu_common.service import serve as serve_app
from kefu_routing.app import create
from kefu_routing.settings import RoutingSettings


@click.group()
def routing() -> None:
    """Directory, contacts, tickets, presence, queues, assignment."""


@routing.command()
@click.option("--port", default=8002, show_default=True)
def serve(port: int) -> None:
    """Run routing until it is told to stop."""
    settings = RoutingSettings()
    sys.exit(serve_app("routing", create(settings), settings, port))
