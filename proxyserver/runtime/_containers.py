"""Containers on paper: from our specification to the SDK's words, and from an inspection back."""

import contextlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs
from docker.types import DeviceRequest, LogConfig, Ulimit
from docker.types import Mount as SdkMount

from proxycore import DeviceId, Placement, RunId, ServiceId
from proxyserver.gauges.host import group_memory, group_processor_s

from ._gpus import gpu_numbers
from ._ports import LOOPBACK
from ._protocol import (
    ContainerSpec,
    Endpoint,
    FoundProcess,
    Healthcheck,
    LaunchSpec,
    Mount,
    RunFacts,
)

LABEL = "aiproxy."
"""All labels of ours begin so."""
_LOG_LIMITS = {"max-size": "10m", "max-file": "2"}


@attrs.frozen
class Owner:
    """Whose a container is; written on it as labels."""

    instance: str
    service: ServiceId
    run: RunId

    @property
    def name(self) -> str:
        """The container's name, of the characters that the engine allows."""
        service = re.sub(r"[^a-zA-Z0-9_.-]", "_", self.service)
        return f"aiproxy-{self.instance}-{service}-{self.run}"

    def label_filter(self) -> list[str]:
        """Return what finds this container and no other."""
        return [
            *instance_filter(self.instance),
            f"{LABEL}service={self.service}",
            f"{LABEL}run={self.run}",
        ]


def instance_filter(instance: str) -> list[str]:
    """Return what finds all containers of one daemon."""
    return [f"{LABEL}managed=1", f"{LABEL}instance={instance}"]


def create_arguments(owner: Owner, spec: LaunchSpec, placement: Placement) -> dict[str, Any]:
    """Return the arguments of the SDK's `containers.create`."""
    what = spec.what
    assert isinstance(what, ContainerSpec)
    arguments: dict[str, Any] = {
        "image": what.image,
        "command": _list(what.command),
        "entrypoint": _list(what.entrypoint),
        "name": owner.name,
        "labels": dict(what.labels)
        | {
            f"{LABEL}managed": "1",
            f"{LABEL}instance": owner.instance,
            f"{LABEL}service": owner.service,
            f"{LABEL}run": str(owner.run),
            f"{LABEL}config-hash": spec.fingerprint,
            f"{LABEL}placement": json.dumps(dict(placement.amounts)),
            f"{LABEL}port": str(what.port),
        },
        "init": what.init,
        "environment": dict(what.environment),
        "mounts": [_mount(mount) for mount in what.mounts],
        "devices": list(what.devices),
        "extra_hosts": dict(what.extra_hosts) or None,
        "shm_size": what.shm_size,
        "ipc_mode": what.ipc,
        "user": what.user,
        "working_dir": what.working_dir,
        "mem_limit": what.memory_limit,
        "log_config": LogConfig(type=LogConfig.types.JSON, config=_LOG_LIMITS),
        "detach": True,
    }
    if what.network_mode is not None:
        arguments["network_mode"] = what.network_mode
    elif what.networks:
        arguments["network"] = what.networks[0]
    if _published(what):
        arguments["ports"] = _ports(what)
    if what.gpus:
        arguments["device_requests"] = [_gpu_request(placement)]
    if what.healthcheck is False:
        arguments["healthcheck"] = {"test": ["NONE"]}
    elif what.healthcheck is not True:
        arguments["healthcheck"] = _healthcheck(what.healthcheck)
    return arguments | _limits(what)


def _limits(what: ContainerSpec) -> dict[str, Any]:
    """Return what is said only where somebody said it: an engine may not know all of it."""
    said: dict[str, Any] = {
        "cap_add": list(what.cap_add),
        "cap_drop": list(what.cap_drop),
        "security_opt": list(what.security_opt),
        "group_add": list(what.group_add),
        "ulimits": [Ulimit(name=one.name, soft=one.soft, hard=one.hard) for one in what.ulimits],
        "tmpfs": dict(_tmpfs(one) for one in what.tmpfs),
        "pid_mode": what.pid,
        "hostname": what.hostname,
        "dns": list(what.dns),
        "sysctls": dict(what.sysctls),
        "privileged": what.privileged,
        "read_only": what.read_only,
        "stop_signal": what.stop_signal,
        "nano_cpus": None if what.cpus is None else round(what.cpus * 1e9),
        "cpuset_cpus": what.cpuset,
        "runtime": what.runtime,
        "platform": what.platform,
    }
    return {key: value for key, value in said.items() if value}


def _tmpfs(text: str) -> tuple[str, str]:
    target, _, options = text.partition(":")
    return target, options


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    """Return it in the engine's words, in which durations are nanoseconds."""
    durations = {
        "interval": check.interval_s,
        "timeout": check.timeout_s,
        "start_period": check.start_period_s,
    }
    said: dict[str, Any] = {
        key: round(value * 1e9) for key, value in durations.items() if value is not None
    }
    if check.test:
        said["test"] = list(check.test)
    if check.retries is not None:
        said["retries"] = check.retries
    return said


def _list(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _mount(mount: Mount) -> SdkMount:
    # As in compose, a source that is no path names a volume.  A mount, unlike a `volumes` entry,
    # fails when its source is missing; the other would make an empty folder, owned by root.
    kind: Literal["bind", "volume"] = "bind" if mount.source.startswith("/") else "volume"
    return SdkMount(mount.target, mount.source, type=kind, read_only=mount.read_only)


def _published(what: ContainerSpec) -> bool:
    """Tell whether ports can be published: not where the container has no network of its own."""
    mode = what.network_mode or ""
    return mode not in ("host", "none") and not mode.startswith("container:")


def _ports(what: ContainerSpec) -> dict[str, list[tuple[str, int | None]]]:
    ports: dict[str, list[tuple[str, int | None]]] = {f"{what.port}/tcp": [(LOOPBACK, None)]}
    for binding in what.ports:
        inside = f"{binding.container}/{binding.protocol}"
        ports.setdefault(inside, []).append((binding.host_ip, binding.host))
    return ports


def _gpu_request(placement: Placement) -> DeviceRequest:
    if numbers := gpu_numbers(placement):
        return DeviceRequest(driver="nvidia", device_ids=list(numbers), capabilities=[["gpu"]])
    return DeviceRequest(driver="nvidia", count=-1, capabilities=[["gpu"]])


@attrs.frozen
class Inspected:
    """What the engine says about one of our containers."""

    attributes: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.attributes["Id"])

    @property
    def status(self) -> str:
        """One of created, running, paused, restarting, removing, exited, dead."""
        return str(self.attributes["State"]["Status"])

    @property
    def alive(self) -> bool:
        return self.status in ("running", "paused", "restarting")

    @property
    def exit_code(self) -> int:
        return int(self.attributes["State"]["ExitCode"])

    @property
    def oom_killed(self) -> bool:
        return bool(self.attributes["State"].get("OOMKilled"))

    @property
    def error(self) -> str:
        """What the engine itself has to complain of, else nothing."""
        return str(self.attributes["State"].get("Error") or "")

    @property
    def networks(self) -> Collection[str]:
        """The names of the networks that it is attached to."""
        networks: dict[str, Any] = self.attributes["NetworkSettings"].get("Networks") or {}
        return networks.keys()

    def _label(self, name: str) -> str:
        return str((self.attributes["Config"].get("Labels") or {}).get(LABEL + name, ""))

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the server is reached; None unless it runs with a port of its own."""
        port = self._label("port")
        if not self.alive or not port:
            return None
        if self.attributes["HostConfig"].get("NetworkMode") == "host":
            return Endpoint(LOOPBACK, int(port))
        asked = (self.attributes["HostConfig"].get("PortBindings") or {}).get(f"{port}/tcp")
        fixed = {binding["HostPort"] for binding in asked or ()}
        given = (self.attributes["NetworkSettings"].get("Ports") or {}).get(f"{port}/tcp")
        for binding in given or ():
            if binding["HostIp"] == LOOPBACK and binding["HostPort"] not in fixed:
                return Endpoint(LOOPBACK, int(binding["HostPort"]))
        return None

    @property
    def started_at(self) -> float:
        """Unix time; 0 if it never started."""
        # Nanoseconds, of which Python reads six digits; "0001-01-01" stands for never.
        text = re.sub(r"(\.\d{6})\d+", r"\1", str(self.attributes["State"]["StartedAt"]))
        with contextlib.suppress(ValueError):
            return max(0.0, datetime.fromisoformat(text).timestamp())
        return 0.0

    def found(self) -> FoundProcess | None:
        """Return it as something found; None when its labels are not as we write them."""
        try:
            run = RunId(int(self._label("run")))
            amounts: dict[str, int] = json.loads(self._label("placement"))
            placement = Placement.of((DeviceId(key), value) for key, value in amounts.items())
        except (ValueError, AttributeError):
            return None
        return FoundProcess(
            service=ServiceId(self._label("service")),
            run=run,
            fingerprint=self._label("config-hash"),
            placement=placement,
            alive=self.alive,
            endpoint=self.endpoint,
            started_at=self.started_at,
        )

    def facts(self) -> RunFacts:
        """Describe it for people."""
        ports = self.attributes["NetworkSettings"].get("Ports") or {}
        pid = int(self.attributes["State"]["Pid"])
        return RunFacts(
            name=str(self.attributes["Name"]).lstrip("/"),
            image=str(self.attributes["Config"]["Image"]),
            pid=pid or None,
            ports=tuple(
                f"{binding['HostIp']}:{binding['HostPort']}->{inside}"
                for inside, bindings in sorted(ports.items())
                for binding in bindings or ()
            ),
            started_at=self.started_at,
            memory=group_memory(pid) if pid else None,
            processor_s=group_processor_s(pid) if pid else None,
        )
