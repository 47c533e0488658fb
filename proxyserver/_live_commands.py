"""The commands that show what goes on: requests in flight, decisions as they are made."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ._at import HERE, At, daemon_at
from ._command import Json, print_json
from ._daemon_commands import EVERY_S, Every

LAST_MAX = 1000
CLEAR = "\x1b[H\x1b[2J"


def requests(
    *,
    cancel: Annotated[
        str | None, Parameter(help="Cancel the request with this X-Request-Id, and say how many.")
    ] = None,
    watch: Annotated[
        bool, Parameter(name=("--watch", "-w"), negative=(), help="Go on showing them.")
    ] = False,
    every: Every = EVERY_S,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show the requests in flight, or cancel one."""
    import sys
    import time

    from ._console import is_rich, print_table

    with daemon_at(at) as daemon:
        if cancel is not None:
            count = daemon.cancel(cancel)
            if json:
                print_json({"id": cancel, "cancelled": count})
            else:
                print(f"cancelled: {count}")
            return
        while True:
            found = daemon.requests()
            if watch and not json and is_rich(sys.stdout):
                sys.stdout.write(CLEAR)
            if json:
                print_json({"requests": found})
            else:
                print_table(_rows(found))
            if not watch:
                return
            sys.stdout.flush()
            time.sleep(every)


def events(
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), negative=(), help="Go on as they come.")
    ] = False,
    service: Annotated[str | None, Parameter(help="Only those about this service.")] = None,
    last: Annotated[
        int,
        Parameter(help="How many of the past.", validator=Number(gte=0, lte=LAST_MAX)),
    ] = 20,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show what the daemon decided, and decides: starts, stops, waits, refusals, and why."""
    import time
    from json import dumps

    from ._story import timeline

    def tell(found: Sequence[Mapping[str, Any]]) -> None:
        if json:
            for one in found:
                print(dumps(one, separators=(",", ":")), flush=True)
        else:
            for line in timeline(found, time.time()):
                print(line, flush=True)

    with daemon_at(at) as daemon:
        wanted = {} if service is None else {"service": service}
        past = daemon.decisions(**wanted, limit=last) if last else []
        tell(past)
        if follow:
            after = past[-1]["number"] if past else None
            for one in daemon.events(service, after):
                tell([one])


def _rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    from ._console import duration, size

    return [
        ("ID", "SERVICE", "MODEL", "STATE", "FOR", "LINE", "READY IN", "IN", "OUT", "KEY", "PATH"),
        *(
            (
                str(one["id"]),
                str(one["service"] or "-"),
                str(one["model"] or "-"),
                str(one["state"]),
                duration(one["for_s"]),
                str(one["position"] or "-"),
                "-" if one["estimate_s"] is None else duration(one["estimate_s"]),
                size(one["bytes_in"]),
                size(one["bytes_out"]),
                str(one["key"] or "-"),
                f"{one['method']} {one['path']}",
            )
            for one in found
        ),
    ]
