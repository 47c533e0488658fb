"""Keys of compose that are not taken as they stand: under another name here, or refused."""

from collections.abc import Mapping
from typing import Any

from proxyserver.runtime._protocol import Healthcheck

from ._errors import Problems, Steps
from ._model import ContainerEntry, HealthcheckEntry

WHY_NOT: Mapping[str, str] = {
    "annotations": "write `labels`",
    "blkio_config": "nothing here needs it",
    "build": "images are not built here; build it, and name it in `image`",
    "cgroup": "the engine's default is meant",
    "cgroup_parent": "the engine's default is meant",
    "configs": "mount the file by `volumes`",
    "container_name": "a container is named by its service and run",
    "cpu_count": "write `cpus`",
    "cpu_percent": "write `cpus`",
    "cpu_quota": "write `cpus`",
    "cpu_shares": "write `cpus`",
    "credential_spec": "it is for Windows",
    "depends_on": "each service starts when it is asked for; what it needs must run by itself",
    "develop": "images are not built here",
    "expose": "it changes nothing: networks are open inside, and `port` says where it listens",
    "extends": "write an anchor and a merge key (`<<`)",
    "external_links": "join the same network by `networks`",
    "isolation": "it is for Windows",
    "links": "join the same network by `networks`",
    "logging": "logs are kept and bounded by the proxy: `aiproxy logs`",
    "mac_address": "nothing here needs it",
    "mem_reservation": "what a service claims is said by `memory` beside `container`",
    "memswap_limit": "write `mem_limit`; a server that swaps is of no use",
    "models": "name the model in the server's own arguments",
    "oom_kill_disable": "a server that cannot be ended cannot be managed",
    "profiles": "a service that nobody asks for does not start",
    "provider": "what is no container is a `process`",
    "pull_policy": "write `pull: missing` beside `container`, or use `aiproxy pull`",
    "restart": "the proxy starts a service when it is asked for, and again after a failure",
    "scale": "a service has one run at a time",
    "secrets": "mount the file by `volumes`, or take `${env:NAME}` in `environment`",
    "stdin_open": "nobody types there",
    "stop_grace_period": "write `grace_s` beside `container`",
    "storage_opt": "nothing here needs it",
    "tty": "nobody types there",
    "volumes_from": "write `volumes`",
}
"""What compose knows and we refuse, with the reason or what to write instead."""


def translated(entry: ContainerEntry, at: Steps, found: Problems) -> dict[str, Any]:
    """Return what a container says under compose's names, under ours."""
    at = (*at, "container")
    given: dict[str, Any] = {}
    deploy = entry.deploy
    cpus, memory = entry.cpus, entry.mem_limit
    if deploy is not None:
        limits = deploy.resources.limits
        cpus = limits.cpus if cpus is None else cpus
        memory = limits.memory if memory is None else memory
        devices = deploy.resources.reservations.devices
        if entry.gpus is None and any("gpu" in one.capabilities for one in devices):
            given["gpus"] = any(one.count is not False for one in devices)
    if memory is not None:
        given["memory_limit"] = memory
    if cpus is not None:
        given["cpus"] = cpus
    if entry.labels is not None:
        given["labels"] = entry.labels
        ours = next((name for name, _ in entry.labels if name.startswith("aiproxy.")), None)
        if ours is not None:
            found.add((*at, "labels"), f"{ours!r}: labels that begin with `aiproxy.` are ours")
    if entry.healthcheck is not None:
        given["healthcheck"] = _healthcheck(entry.healthcheck)
    return given


def _healthcheck(entry: HealthcheckEntry) -> bool | Healthcheck:
    if entry.disable or entry.test == ("NONE",):
        return False
    check = Healthcheck(
        entry.test or (), entry.interval, entry.timeout, entry.start_period, entry.retries
    )
    return True if check == Healthcheck() else check
