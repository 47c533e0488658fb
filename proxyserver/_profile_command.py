"""The command `profile`: which services are pinned for now, on top of the configuration."""

from typing import Annotated

from cyclopts import Parameter

from ._at import HERE, At, daemon_at
from ._command import Json, print_json


def profile(
    name: Annotated[
        str | None, Parameter(help="What to switch to; `none`: to none. Default: only tell.")
    ] = None,
    /,
    *,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show which profile is in force, or switch to another."""
    with daemon_at(at) as daemon:
        said = daemon.profile(name)
    if json:
        print_json(said)
        return
    for one, services in said["profiles"].items():
        mark = "*" if one == said["profile"] else " "
        print(f"{mark} {one}: {', '.join(services) or 'no service'}")
    if said["profile"] is None:
        print("no profile is in force" if said["profiles"] else "the configuration has no profiles")
