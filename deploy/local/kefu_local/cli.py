"""`kefu local …`: the one-machine stack."""

import asyncio
import errno
import os
from pathlib import Path

import click

from kefu_local.errors import LocalError
from kefu_local.folder import Folder

DEFAULT_FOLDER = Path(".kefu")


class OneLineCommand(click.Command):
    """Ends with one clear line and exit code 1 where something stands in the way, and not with a stack trace."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LocalError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise click.ClickException(
                    f"The disk is full: {error.filename or ''} make room, then again."
                ) from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise click.ClickException(
                    f"{error.strerror}: {error.filename}. Does it belong to another user?"
                ) from error
            raise


class OneLineErrors(OneLineCommand, click.Group):
    """So do all commands of a group."""


folder_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where data, logs and keys are kept.",
)


@click.group(cls=OneLineErrors)
def local() -> None:
    """Everything on one machine: Kafka, PostgreSQL, the services, a mail and SMS sink, a trace viewer."""


@local.command()
@folder_option
@click.option("--viewer/--no-viewer", default=True, help="Start the trace viewer.")
def up(directory: Path, viewer: bool) -> None:
    """Start everything, and stop it by Ctrl-C. Ports are counted from KEFU_PORT_BASE (8000)."""
    from kefu_local.ports import base_from_environment
    from kefu_local.stack import Stack
    from kefu_local.up import run, tell

    prefix = os.environ.get("KEFU_TOPIC_PREFIX", "")
    stack = Stack(directory, base_from_environment(), viewer=viewer, topic_prefix=prefix, say=tell)
    asyncio.run(run(stack))


@local.command()
@folder_option
def down(directory: Path) -> None:
    """Stop what `up` started elsewhere, and wait until it has stopped."""
    from kefu_local.status import stop_running

    stop_running(Folder(directory.absolute()))
    click.echo("Stopped.")


@local.command()
@folder_option
def status(directory: Path) -> None:
    """Show what runs; exit code 1 unless all is ready."""
    from kefu_local.status import show_status

    if not show_status(Folder(directory.absolute())):
        raise SystemExit(1)


@local.command()
@folder_option
def clean(directory: Path) -> None:
    """Remove all data, keys and logs."""
    from kefu_local.status import clean as remove

    remove(Folder(directory.absolute()))


@local.command()
@click.option("--port", type=int, required=True)
@click.option("--smtp-port", type=int, required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="File that messages are kept in.")
def sink(port: int, smtp_port: int, data: Path) -> None:
    """Serve the mail and SMS sink."""
    from kefu_local.sink.server import serve

    asyncio.run(serve(port, smtp_port, data))


@local.command()
@click.option("--port", type=int, required=True)
@click.option("--zipkin-url", required=True)
def otlp_bridge(port: int, zipkin_url: str) -> None:
    """Serve the bridge from OTLP to Zipkin."""
    from kefu_local.otlp_bridge import serve

    asyncio.run(serve(port, zipkin_url))


@local.command()
def lock_kafka() -> None:
    """Resolve the jars of Kafka and of the trace viewer anew, and lock them (needs mvn)."""
    from kefu_local.lock_jars import lock_all

    asyncio.run(lock_all())
