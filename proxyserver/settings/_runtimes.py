"""What runs a service, by what it says and by what this machine has."""

from pathlib import Path

from ._errors import Problems, Steps
from ._model import PullPolicy, ServerEntry, ServiceEntry
from ._settings import RuntimeName

_DOCKER_SOCKET = "unix:///var/run/docker.sock"


def runtime_of(
    entry: ServiceEntry, server: ServerEntry, docker_host: str | None, at: Steps, found: Problems
) -> RuntimeName:
    """Return what runs a service: what is written below decides, else what is asked for."""
    needed: RuntimeName | None = None
    if entry.container is not None or entry.process is not None:
        needed = "docker" if entry.container is not None else "process"
    elif entry.external is not None:
        needed = "external"
    asked = entry.runtime
    if needed is None and asked == "external":
        found.add((*at, "runtime"), "needs `external: {url: ...}`")
    if needed and asked not in (None, "auto", needed):
        found.add((*at, "runtime"), f"{asked} does not run what is written below")
    if needed is not None:
        return needed
    for choice in (asked, server.runtime):
        if choice == "docker" or choice == "process":
            return choice
    host = docker_host or _DOCKER_SOCKET
    there = not host.startswith("unix://") or Path(host.removeprefix("unix://")).is_socket()
    return "docker" if there else "process"


def pull_of(entry: ServiceEntry, server: ServerEntry, at: Steps, found: Problems) -> PullPolicy:
    """Return whether the image of a service is fetched when it is missing."""
    if entry.pull == "missing" and (entry.process is not None or entry.external is not None):
        found.add((*at, "pull"), "only containers have images")
    return server.pull if entry.pull is None else entry.pull
