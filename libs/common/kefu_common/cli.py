"""The one command, `kefu`. Services register their subcommands by the entry point `kefu.commands`."""

import asyncio
import os
import sys
from importlib.metadata import entry_points

import asyncpg
import click

from kefu_common.postgres import migrations


class _Registered(click.Group):
    """Loads a subcommand only when it is used, so that `kefu` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(p.name for p in entry_points(group="kefu.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group="kefu.commands", name=cmd_name):
            command: click.Command = point.load()
            return command
        return super().get_command(ctx, cmd_name)


@click.command(cls=_Registered)
def main() -> None:
    """Kefu (客服): event-driven customer service."""


@main.command()
@click.argument("service", nargs=-1)
def migrate(service: tuple[str, ...]) -> None:
    """Bring each SERVICE's schema up to date (all by default), one at a time under a lock.

    The DSN of each service's role is taken from KEFU_POSTGRES_<SERVICE>.
    """
    for name in service or migrations.services():
        dsn = os.environ.get(f"KEFU_POSTGRES_{name.upper()}")
        if not dsn:
            raise click.ClickException(f"set KEFU_POSTGRES_{name.upper()} to the DSN of {name}'s role")
        try:
            done = asyncio.run(migrations.migrate(dsn, name))
        except migrations.MigrationChanged as error:
            raise click.ClickException(f"{error} was edited after it was applied; write a new migration") from None
        except (OSError, asyncpg.PostgresError) as error:
            raise click.ClickException(f"{name}: {error}") from None
        click.echo(f"{name}: {', '.join(done) if done else 'up to date'}", file=sys.stderr)
