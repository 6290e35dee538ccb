"""Running the play, and telling of it."""

from collections.abc import Callable, Sequence

import click

from kefu_client.checking.play import NEEDED, SCENES, Play
from kefu_client.checking.stage import Stage


async def run(
    host: str,
    port: int,
    scenes: Sequence[str],
    within_s: float,
    channel: str | None = None,
    interaction: str | None = None,
    say: Callable[[str], None] = click.echo,
) -> bool:
    """Play the scenes in order; whether the adapter kept the contract in all of them. Raises `OSError`."""
    stage = Stage()
    server = await stage.serve(host, port)
    say(f"Kefu is played at http://{host}:{port}. Waiting for the adapter …")
    play = Play(stage, within_s, channel, interaction)
    is_good = True
    try:
        for name in scenes:
            scene = SCENES[name]
            faults = await scene(play)
            what = (scene.__doc__ or "").strip().rstrip(".")
            say(f"{'✗' if faults else '✓'} {name}: {what}")
            for fault in faults:
                say(f"    {fault}")
            is_good = is_good and not faults
            if faults and name in NEEDED:
                say("    the other scenes need this one")
                break
    finally:
        server.close()
        stage.close()
    return is_good
