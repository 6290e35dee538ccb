"""`kefu adapter`: what authors of channel adapters need."""

import asyncio
import sys
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import click

_GROUP = "kefu.adapters"


class _Adapters(click.Group):
    """Adapters register their own commands, which are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours, and those that are installed."""
        return sorted({*super().list_commands(ctx), *(point.name for point in entry_points(group=_GROUP))})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command by its name."""
        own = super().get_command(ctx, name)
        if own is not None:
            return own
        for point in entry_points(group=_GROUP, name=name):
            found: click.Command = point.load()
            return found
        return None


@click.group(cls=_Adapters)
def adapter() -> None:
    """Run an adapter, or check one against Kefu's contract."""


@adapter.command()
@click.argument("url")
@click.option("--only", multiple=True, help="Play this scene, besides those that every other needs.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds that the adapter has for each answer.")
@click.option("--channel", type=click.Choice(["call", "chat"]), help="Of the interaction that is named.")
@click.option("--interaction", help="Give instructions for this interaction instead of waiting for a start.")
def check(url: str, only: tuple[str, ...], timeout: float, channel: str | None, interaction: str | None) -> None:
    """Play Kefu at URL, such as http://127.0.0.1:8100, and check the adapter that is pointed at it.

    Point both of the adapter's addresses (intake and notifications) at URL, start it, and open one call or chat.
    """
    from kefu_client.checking.play import NEEDED, SCENES
    from kefu_client.checking.run import run

    unknown = [name for name in only if name not in SCENES]
    if unknown:
        raise click.BadParameter(f"expected some of {', '.join(SCENES)}", param_hint="--only")
    if (channel is None) != (interaction is None):
        raise click.UsageError("--channel and --interaction belong together")
    place = urlsplit(url)
    if place.scheme != "http" or place.hostname is None:
        raise click.BadParameter("expected http://host:port", param_hint="URL")
    scenes = [name for name in SCENES if not only or name in only or name in NEEDED]
    try:
        is_good = asyncio.run(run(place.hostname, place.port or 80, scenes, timeout, channel, interaction))
    except OSError as error:
        raise click.ClickException(f"cannot listen at {url}: {error.strerror or error}") from None
    sys.exit(0 if is_good else 1)
