"""`kefu adapter mail` and `kefu adapter asterisk`. Secrets come from the environment, never from arguments."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from kefu_client import FileMarks, Kefu
from kefu_client.sending import Patience

_PATIENCE = Patience(give_up_after_s=30)
Command = Callable[..., Any]


def _kefu_options(command: Command) -> Command:
    """Where Kefu is."""
    for option in (
        click.option("--intake", envvar="KEFU_INTAKE", default="http://127.0.0.1:8001", show_default=True),
        click.option(
            "--notifications", envvar="KEFU_NOTIFICATIONS", default="http://127.0.0.1:8003", show_default=True
        ),
        click.option("--site", required=True, help="The site to which everything belongs that comes this way."),
    ):
        command = option(command)
    return command


def _secret(name: str) -> str:
    """A secret from the environment."""
    import os

    found = os.environ.get(name, "")
    if not found:
        raise click.ClickException(f"set {name}")
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"expected host:port, not {text}")
    return host, int(port)


def _run(work: Coroutine[Any, Any, None]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return


@click.command()
@_kefu_options
@click.option("--imap", help="host:port of the mailbox; KEFU_IMAP_USER and KEFU_IMAP_PASSWORD open it.")
@click.option("--folder", default="INBOX", show_default=True)
@click.option("--tls/--no-tls", default=True, show_default=True)
@click.option("--place", type=click.Path(path_type=Path), default="kefu-mail.json", show_default=True)
@click.option("--lmtp", help="host:port where a mail server delivers instead.")
def mail(
    intake: str, notifications: str, site: str, imap: str | None, folder: str, tls: bool, place: Path, lmtp: str | None
) -> None:
    """Post the mails of a mailbox, or what a mail server delivers. KEFU_KEY needs the scope emails:write."""
    from kefu_adapters.delivered import Delivery
    from kefu_adapters.mailbox import Mailbox, PlaceFile, forward

    if (imap is None) == (lmtp is None):
        raise click.UsageError("expected either --imap or --lmtp")

    async def run() -> None:
        async with Kefu(intake, notifications, _secret("KEFU_KEY"), patience=_PATIENCE) as kefu:
            if imap is not None:
                host, port = _address(imap)
                user, password = _secret("KEFU_IMAP_USER"), _secret("KEFU_IMAP_PASSWORD")
                await forward(kefu, Mailbox(host, port, user, password, site, folder, tls), PlaceFile(place))
            elif lmtp is not None:
                loop = asyncio.get_running_loop()
                server = await loop.create_server(lambda: Delivery(kefu, site), *_address(lmtp))
                async with server:
                    await server.serve_forever()

    _run(run())


@click.command()
@_kefu_options
@click.option("--ami", default="127.0.0.1:5038", show_default=True, help="Asterisk's Manager Interface.")
@click.option("--user", default="kefu", show_default=True, help="Whose secret is in KEFU_AMI_SECRET.")
@click.option("--context", multiple=True, default=["from-outside"], show_default=True, help="Where calls come in.")
@click.option("--agent", multiple=True, help="extension=agent, where an extension is not the agent's id itself.")
@click.option("--technology", default="PJSIP", show_default=True)
@click.option("--say-context", default="kefu-say", show_default=True, help="Says the variable KEFU_TEXT.")
@click.option("--marks", type=click.Path(path_type=Path), default="kefu-asterisk.json", show_default=True)
def asterisk(
    intake: str,
    notifications: str,
    site: str,
    ami: str,
    user: str,
    context: tuple[str, ...],
    agent: tuple[str, ...],
    technology: str,
    say_context: str,
    marks: Path,
) -> None:
    """Bridge Asterisk's calls. KEFU_KEY needs calls:write, outcomes:write and outbound:read."""
    from kefu_adapters.asterisk import Bridge, Login
    from kefu_adapters.calls import Calls, Terms

    pairs = [each.partition("=") for each in agent]
    if any(not sign or not name for _, sign, name in pairs):
        raise click.BadParameter("expected extension=agent", param_hint="--agent")
    agents = {extension: name for extension, _, name in pairs}
    terms = Terms(site, frozenset(context), agents=agents, technology=technology, say_context=say_context)

    async def run() -> None:
        async with Kefu(intake, notifications, _secret("KEFU_KEY"), patience=_PATIENCE) as kefu:
            login = Login(*_address(ami), user, _secret("KEFU_AMI_SECRET"))
            await Bridge(kefu, login, Calls(terms)).run(FileMarks(marks))

    _run(run())
