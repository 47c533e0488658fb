"""The commands `config reload` and `config diff`: what another configuration does, or would."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ._at import HERE, At, daemon_at
from ._command import DIFFERS, FAILED, CommandFailed, Json, fail, print_json

if TYPE_CHECKING:
    from .client import DaemonRefused

KEYED = {
    "restarts": "restarts",
    "changes": "changes at once",
    "next_start": "changes at its next start",
}


def reload(*, at: At = HERE, json: Json = False) -> None:
    """Have the daemon read its configuration again; one that is wrong changes nothing."""
    from .client import DaemonRefused

    with daemon_at(at) as daemon:
        try:
            said = daemon.reload()
        except DaemonRefused as error:
            _refuse(error, json=json)
    _show(said, json=json, nothing="nothing has changed")


def diff(
    file: Annotated[
        Path | None, Parameter(help="What to hold against it; default: its own files.")
    ] = None,
    /,
    *,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show what a reload would do to the running daemon; exit code 5 if it would do anything.

    FILE is read as if it stood in the place of the daemon's own.
    """
    from .client import DaemonRefused

    try:
        text = b"" if file is None else file.read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    if file is not None and not text:
        fail(f"{file} is empty")
    with daemon_at(at) as daemon:
        try:
            said = daemon.diff(text)
        except DaemonRefused as error:
            _refuse(error, json=json)
    _show(said, json=json, nothing="nothing would change")
    if said["outcome"] == "changed" or said["needs_restart"]:
        raise CommandFailed(DIFFERS, "")


def _show(said: Mapping[str, Any], *, json: bool, nothing: str) -> None:
    if json:
        print_json(said)
        return
    lines = list(_lines(said))
    for line in lines or [nothing]:
        print(line)


def _lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each service, and for the server, that is another."""
    for what in ("added", "removed"):
        yield from (f"{service}: {what}" for service in said[what])
    for what, words in KEYED.items():
        yield from (f"{service}: {words}: {_all(keys)}" for service, keys in said[what].items())
    if said["server"]:
        yield f"server: changes at once: {_all(said['server'])}"
    if said["needs_restart"]:
        yield f"server: needs a restart of the daemon: {_all(said['needs_restart'])}"


def _all(keys: Iterable[str]) -> str:
    return ", ".join(keys)


def _refuse(error: "DaemonRefused", *, json: bool) -> None:
    """End the command by what the daemon has against the configuration.

    Raises:
        CommandFailed: always.
        DaemonRefused: that was not why it refused.
    """
    from ._console import problem

    problems = error.told.get("problems")
    if not isinstance(problems, list):
        raise error
    if json:
        print_json({"outcome": "refused", "problems": problems})
    for one in problems:
        print(problem(one), file=sys.stderr)
    raise CommandFailed(FAILED, "aiproxy: refused; the configuration in force stays")
