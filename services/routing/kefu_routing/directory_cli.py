"""`kefu directory`: the whole directory of an account in one file."""

import json
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import httpx

_STACK: Final = Path(".kefu/stack.json")
"""What a stack of this machine names its addresses and keys in, seen from where it was started."""
_LONGEST_VALUE: Final = 80
_PATIENCE_S: Final = 60


@click.group()
def directory() -> None:
    """Export or apply all sites, calendars, agents, roles, groups, departments, categories, plans and addresses."""


def _of_routing(command: Any) -> Any:
    command = click.option("--url", envvar="KEFU_ROUTING_URL", help="Routing; unset: that of .kefu/stack.json.")(
        command
    )
    return click.option("--key", envvar="KEFU_KEY", help="Better as KEFU_KEY; unset: that of .kefu/stack.json.")(
        command
    )


@directory.command()
@click.argument("file", type=click.File("wb"), default="-")
@_of_routing
def export(file: BinaryIO, url: str | None, key: str | None) -> None:
    """Write the directory to FILE as YAML; without FILE to the screen."""
    with _client(url, key) as http:
        file.write(_call(http, "GET", headers={"Accept": "application/yaml"}).content)


@directory.command()
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--prune", is_flag=True, help="Delete what FILE does not name.")
@_of_routing
def apply(file: BinaryIO, dry_run: bool, prune: bool, url: str | None, key: str | None) -> None:
    """Make the directory as FILE (YAML, or *.json) says: all of it, or nothing. Shows the difference first."""
    content = file.read()
    kind = "application/json" if file.name.endswith(".json") else "application/yaml"
    how = {"prune": str(prune).lower(), "dry_run": "true"}
    with _client(url, key) as http:
        tried = _call(http, "PUT", params=how, content=content, headers={"Content-Type": kind})
        found = tried.json()
        for line in difference(found):
            click.echo(line)
        if dry_run or not any(found[what] for what in ("created", "changed", "deleted")):
            return
        # Nothing but what was shown: with another directory than that, it is refused.
        headers = {"Content-Type": kind, "If-Match": tried.headers["etag"]}
        _call(http, "PUT", params=how | {"dry_run": "false"}, content=content, headers=headers)
        click.echo("Applied.")


def _client(url: str | None, key: str | None) -> httpx.Client:
    if url is None or key is None:
        if not _STACK.exists():
            what = "--url or KEFU_ROUTING_URL" if url is None else "KEFU_KEY"
            raise click.ClickException(f"set {what}: there is no {_STACK} here that names them")
        stack = json.loads(_STACK.read_bytes())
        url, key = url or stack["services"]["routing"], key or stack["keys"]["admin"]
    try:
        is_here = httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
        # What runs on this machine is behind no proxy.
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE_S, trust_env=not is_here)
    except httpx.InvalidURL as error:
        raise click.ClickException(f"{url} is no URL: {error}") from None


def _call(http: httpx.Client, method: str, **request: Any) -> httpx.Response:
    try:
        answer = http.request(method, "/v1/directory", **request)
    except httpx.HTTPError as error:
        raise click.ClickException(f"{http.base_url} does not answer: {error}") from None
    if answer.is_success:
        return answer
    raise click.ClickException("\n".join(_complaint(answer)))


def _complaint(answer: httpx.Response) -> list[str]:
    if "json" not in answer.headers.get("content-type", ""):
        return [f"{answer.url.host} answered {answer.status_code}: is it routing?"]
    problem = answer.json()
    return [problem["detail"], *(f"  {wrong['path']}: {wrong['message']}" for wrong in problem.get("errors") or ())]


def difference(found: dict[str, Any]) -> list[str]:
    """What `PUT /v1/directory` answered, for people: a line for each object, and for each field that changes."""
    lines = [f"+ {item['path']}" for item in found["created"]]
    for item in found["changed"]:
        lines += [f"~ {item['path']}", *(f"    {_field(change)}" for change in item["changes"])]
    lines += [f"- {item['path']}" for item in found["deleted"]]
    counts = ", ".join(f"{len(found[what])} {what}" for what in ("created", "changed", "deleted"))
    kept = f"; {len(found['kept'])} not in the file stay (--prune deletes them)" if found["kept"] else ""
    return [*lines, f"{counts}{kept}"]


def _field(change: dict[str, Any]) -> str:
    before, after = change["before"], change["after"]
    if not (isinstance(before, list) and isinstance(after, list)):
        return f"{change['path']}: {_short(before)} → {_short(after)}"
    gone = [f"- {_short(item)}" for item in before if item not in after]
    new = [f"+ {_short(item)}" for item in after if item not in before]
    return f"{change['path']}: {', '.join(gone + new) or 'in another order'}"


def _short(value: Any) -> str:
    """A value in few words: of an object, what stands in its fields."""
    if isinstance(value, dict) and value and all(isinstance(inner, str | int) for inner in value.values()):
        text = " ".join(str(inner) for inner in value.values())
    else:
        text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
