"""The commands that ask a running daemon: what is, why, and what shall be."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ._at import HERE, At, daemon_at
from ._command import NOT_READY, CommandFailed, Json, fail, listed, print_json

if TYPE_CHECKING:
    from .client import Client

Wait = Annotated[bool, Parameter(name="--wait", help="Return when it is done, or at once.")]
EVERY_S = 1.0
Every = Annotated[
    float,
    Parameter(help="With --watch: seconds between two looks.", validator=Number(gte=0.1, lte=3600)),
]
Decisions = Sequence[Mapping[str, Any]]
DECISIONS_MAX = 1000
"""As many as the daemon tells at once."""


def status(
    service: Annotated[
        str | None, Parameter(help="Only this one; exit code 4 if not ready.")
    ] = None,
    /,
    *,
    watch: Annotated[
        bool, Parameter(name=("--watch", "-w"), negative=(), help="Go on showing what changes.")
    ] = False,
    every: Every = EVERY_S,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show what runs, what it holds, and why."""
    from ._console import device_rows, print_table, service_rows, troubles
    from ._watch import watch as go_on

    if watch:
        with daemon_at(at) as daemon:
            go_on(lambda: _one(daemon.health(), service), every_s=every, json=json)
    with daemon_at(at) as daemon:
        health = _one(daemon.health(), service)
    if json:
        print_json(health)
    else:
        print_table(service_rows(health["services"]))
        if service is None:
            print()
            print_table(device_rows(health["devices"]))
        for trouble in troubles(health):
            print(f"\n{trouble}")
    if service is not None and health["services"][0]["state"] != "ready":
        raise CommandFailed(NOT_READY, f"{service} is not ready")


def _one(health: dict[str, Any], service: str | None) -> dict[str, Any]:
    """Leave only one service, by any of its names.

    Raises:
        CommandFailed: there is none of that name.
    """
    if service is None:
        return health
    every = health["services"]
    found = [one for one in every if service in (one["id"], *one["aliases"])]
    if not found:
        fail(f"there is no service {service!r}; there are: {listed(one['id'] for one in every)}")
    return health | {"services": found}


def top(*, every: Every = EVERY_S, at: At = HERE) -> None:
    """Show all services and devices, as they change: `aiproxy status --watch`."""
    status(watch=True, every=every, at=at)


def ps(*, at: At = HERE, json: Json = False) -> None:
    """Show only the services that run."""
    from ._console import print_table, service_rows

    with daemon_at(at) as daemon:
        running = [one for one in daemon.health()["services"] if one["run"] is not None]
    if json:
        print_json({"services": running})
    else:
        print_table(service_rows(running))


def start(service: str, /, *, wait: Wait = True, at: At = HERE, json: Json = False) -> None:
    """Start a service by hand; return when it is ready."""
    _act("start", service, wait=wait, at=at, json=json)


def stop(
    service: str,
    /,
    *,
    force: Annotated[
        bool, Parameter(negative=(), help="Cut running requests instead of letting them finish.")
    ] = False,
    wait: Wait = True,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Stop a service; return when it is down."""
    _act("stop", service, wait=wait, force=force, at=at, json=json)


def sleep(service: str, /, *, wait: Wait = True, at: At = HERE, json: Json = False) -> None:
    """Put a service to sleep; return when it sleeps."""
    _act("sleep", service, wait=wait, at=at, json=json)


def restart(service: str, /, *, wait: Wait = True, at: At = HERE, json: Json = False) -> None:
    """Stop and start a service; return when it is ready."""
    _act("restart", service, wait=wait, at=at, json=json)


def logs(
    service: str,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), negative=(), help="Go on as lines come.")
    ] = False,
    tail: Annotated[int, Parameter(help="How many of the last lines.")] = 100,
    at: At = HERE,
) -> None:
    """Print what a service's server has written."""
    with daemon_at(at) as daemon:
        for line in daemon.log_lines(service, tail=tail, follow=follow):
            print(line, flush=True)


def explain(
    about: Annotated[
        str | None, Parameter(help="A service, or the X-Request-Id of a request that waited.")
    ] = None,
    /,
    *,
    last: Annotated[
        int,
        Parameter(help="How many decisions at most.", validator=Number(gte=1, lte=DECISIONS_MAX)),
    ] = 20,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Tell why: what was stopped for whom, and what a request waited for."""
    import time

    from ._story import summary, timeline

    own: Decisions = []
    found: Decisions
    with daemon_at(at) as daemon:
        if about is None:
            found = daemon.decisions(limit=last)
        elif (on_service := _on_service(daemon, about, last)) is not None:
            found = on_service
        else:
            own, found = _on_request(daemon, about)
    if json:
        print_json({"decisions": found})
        return
    now = time.time()
    for line in (*summary(own, now), *timeline(found, now)):
        print(line)
    if not found:
        print("nothing was decided yet")


def _on_service(daemon: "Client", name: str, last: int) -> Decisions | None:
    """Return the last decisions about a service; None: there is no such service."""
    from .client import DaemonRefused

    try:
        return daemon.decisions(service=name, limit=last)
    except DaemonRefused as error:
        if error.status == 404:
            return None
        raise


def _on_request(daemon: "Client", id: str) -> tuple[Decisions, Decisions]:
    """Return what was decided about a request, and the same with all that explains it.

    Raises:
        CommandFailed: nothing is known of it.
    """
    from ._story import relevant

    own = daemon.decisions(request=id)
    if not own and id.isdecimal():
        own = daemon.decisions(ticket=id)
    if not own:
        fail(
            f"there is no service {id!r}, and of no request with that id is it known that it"
            " waited: one that is admitted at once leaves nothing to explain"
        )
    return own, relevant(daemon.decisions(limit=DECISIONS_MAX), own)


def _act(verb: str, service: str, *, wait: bool, at: At, json: bool, force: bool = False) -> None:
    with daemon_at(at) as daemon:
        after = daemon.act(verb, service, wait=wait, force=force)
    if json:
        print_json(after)
    else:
        run = "" if after["run"] is None else f" (run {after['run']})"
        print(f"{after['id']} is {after['state']}{run}")
