"""Whose a process is when it is in a container, by the control groups of the kernel."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

import docker
import trio

from proxycore import RunId

from ._containers import LABEL, instance_filter

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

Look = Callable[[], Awaitable[Mapping[str, RunId]]]
"""Asks the engine for all containers of ours, with their runs."""


class ContainerOwners:
    """Remembers the run of each container.

    Whose a container is never changes, so that the engine is asked once for each.
    """

    def __init__(self) -> None:
        # None: not ours.
        self._runs: Mapping[str, RunId | None] = {}

    async def whose(self, pids: Collection[int], look: Look) -> Mapping[int, RunId]:
        """Tell of which run each of these processes is; strangers are left out."""
        within = await trio.to_thread.run_sync(lambda: {pid: container_ids(pid) for pid in pids})
        asked = frozenset[str]().union(*within.values())
        if not asked <= self._runs.keys():
            ours = await look()
            # Whoever is asked for no more is forgotten.
            self._runs = {container: ours.get(container) for container in asked}
        return {
            pid: run
            for pid, containers in within.items()
            for container in containers
            if (run := self._runs.get(container)) is not None
        }


def list_owned(client: docker.DockerClient, instance: str) -> Mapping[str, RunId]:
    """Ask the engine for all containers of a daemon, with their runs."""
    return {
        str(container["Id"]): RunId(int(container["Labels"][f"{LABEL}run"]))
        for container in client.api.containers(
            all=True, filters={"label": instance_filter(instance)}
        )
    }


def container_ids(pid: int) -> frozenset[str]:
    """Return the ids of the containers that a process is in, nested ones too.

    Both `/docker/ID` (version 1) and `docker-ID.scope` (version 2 with systemd).
    """
    try:
        return frozenset(_CONTAINER_ID.findall(Path(f"/proc/{pid}/cgroup").read_text()))
    except OSError:  # It has ended.
        return frozenset()
