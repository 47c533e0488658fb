"""Who has a port of this machine: processes and containers, for people to whom it is refused."""

import contextlib
import re
from pathlib import Path

import docker

from . import _proc

_PORT = re.compile(r":(\d{1,5})(?: failed)?: (?:port is already allocated|bind: address already)")


def holder_of(port: int) -> str:
    """Return which program listens on a port, as ` by nginx (pid 812)`.

    Nothing where nobody does; who is not ours to look at is told as such.
    """
    sockets = _proc.listeners_on(port)
    for stat in _proc.all_stats() if sockets else ():
        if sockets & _proc.socket_inodes([stat.pid]):
            return f" by {_name(stat.pid)} (pid {stat.pid})"
    return " by a process of somebody else (only root sees whose)" if sockets else ""


def _name(pid: int) -> str:
    # Not its command line, which may have secrets.
    with contextlib.suppress(OSError):
        return "".join(filter(str.isprintable, Path(f"/proc/{pid}/comm").read_text())) or "?"
    return "?"


def port_of(message: str) -> int | None:
    """Return the port that an engine cannot publish, by what it says."""
    match = _PORT.search(message)
    return None if match is None else int(match[1])


def publisher_of(client: docker.DockerClient, port: int) -> str:
    """Return which container has a port published, as ` by the container 'web'`, or nothing."""
    for container in client.api.containers():
        if any(one.get("PublicPort") == port for one in container.get("Ports") or ()):
            return f" by the container {container['Names'][0].lstrip('/')!r}"
    return ""
