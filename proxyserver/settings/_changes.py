"""What another configuration would change in the one in force, by the keys that people know.

Only keys are told, never what they say: some are secrets.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from proxycore import DeviceId, DeviceSpec, ServiceId, Unit
from proxycore.config import ServiceSpec
from proxyserver.runtime._protocol import ContainerSpec, Endpoint, ExternalSpec, LaunchSpec

from ._applies import SERVER, SERVICE, Applies
from ._settings import ServerSettings, Service, Settings

_SERVER_KEYS = {
    "log_level": "log.level",
    "log_format": "log.format",
    "log_file": "log.file",
    "log_file_max": "log.file_max",
    "log_files_kept": "log.files_kept",
    "log_services": "log.services",
    "docker_host": "docker.host",
}
"""Settings of the server whose key is another."""
_SPEC_KEYS = {"placements": "memory", "concurrent_max": "concurrency"}
_NOT_WRITTEN = frozenset({"id", "host", "fingerprint"})
_LAUNCH_KEYS = ("ready", "ready_line", "live", "sleep", "wake")
_WHAT_KEYS = {"mounts": "volumes", "memory_limit": "mem_limit"}
_ENDPOINT_KEYS = {"ca": "ca", "authorization": "authorization", "socket": "socket"}


@attrs.frozen
class Changes:
    """What is different, in the order of the newer configuration."""

    added: tuple[ServiceId, ...] = ()
    removed: tuple[ServiceId, ...] = ()
    restarts: Mapping[ServiceId, tuple[str, ...]] = attrs.field(factory=dict)
    """Started in another way, each with the keys: a run that lives drains and is replaced."""
    changes: Mapping[ServiceId, tuple[str, ...]] = attrs.field(factory=dict)
    """At once, while its run goes on."""
    next_start: Mapping[ServiceId, tuple[str, ...]] = attrs.field(factory=dict)
    """By the next run; the one that lives goes on as it is."""
    server: tuple[str, ...] = ()
    """Keys of the server that change at once."""
    needs_restart: tuple[str, ...] = ()
    """Keys of the server that stay as they are until the daemon starts again."""

    def __bool__(self) -> bool:
        """Whether anything would be another than it is, now or after a restart."""
        return self != Changes()

    @classmethod
    def of(cls, old: Settings, new: Settings) -> "Changes":
        """Compare the settings in force with others."""
        was, now = old.services, new.services
        restarts: dict[ServiceId, tuple[str, ...]] = {}
        changes, next_start = restarts.copy(), restarts.copy()
        for service in now:
            if service not in was:
                continue
            how = dict(_of_service(was[service], now[service]))
            if _models_max(old, service) != _models_max(new, service):
                how["models_max"] = SERVICE["models_max"]
            if Applies.RUN in how.values():
                restarts[service] = tuple(how)
                continue
            for where, applies in ((changes, Applies.AT_ONCE), (next_start, Applies.NEXT_START)):
                if keys := tuple(key for key, it in how.items() if it is applies):
                    where[service] = keys
        at_once = _others(old.server, kept(old.server, new.server))
        later = [one for one in _others(old.server, new.server) if _fixed(one)]
        return cls(
            added=tuple(one for one in now if one not in was),
            removed=tuple(one for one in was if one not in now),
            restarts=restarts,
            changes=changes,
            next_start=next_start,
            server=(
                *map(_key, at_once),
                *_devices(old, new),
            ),
            needs_restart=tuple(map(_key, later)),
        )

    @property
    def is_felt(self) -> bool:
        """Whether something changes now, and not only with a restart of the daemon."""
        return attrs.evolve(self, needs_restart=()) != Changes()

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            key: {name: list(keys) for name, keys in value.items()}
            if isinstance(value, Mapping)
            else list(value)
            for key, value in attrs.asdict(self, recurse=False).items()
        }


def kept(running: ServerSettings, wanted: ServerSettings) -> ServerSettings:
    """Return what is wanted of the server, with what cannot change while it runs as it is."""
    fixed = {
        field.name: getattr(running, field.name)
        for field in attrs.fields(ServerSettings)
        if _fixed(field.name)
    }
    if wanted.spill_dir == wanted.state_dir:
        fixed["spill_dir"] = running.spill_dir  # It follows the other, which stays.
    return attrs.evolve(wanted, **fixed)


def _key(field: str) -> str:
    return _SERVER_KEYS.get(field, field)


def _fixed(field: str) -> bool:
    """Tell whether it cannot change while the daemon runs."""
    return SERVER.get(_key(field).partition(".")[0], Applies.DAEMON) is Applies.DAEMON


def _others(old: ServerSettings, new: ServerSettings) -> list[str]:
    fields = attrs.fields(ServerSettings)
    return [one.name for one in fields if getattr(old, one.name) != getattr(new, one.name)]


def _devices(old: Settings, new: Settings) -> Iterator[str]:
    """Yield the devices with memory that are new, other, or no more."""
    was, now = _memory(old), _memory(new)
    for device in {**now, **was}:
        if was.get(device) != now.get(device):
            yield "ram" if device == "ram" else f"devices.{device}"


def _models_max(settings: Settings, host: ServiceId) -> int | None:
    """Return how many models a server holds at once: that is a device which counts them."""
    counted = {one.id: one.capacity for one in settings.core.devices if one.unit is Unit.MODELS}
    return counted.get(DeviceId(f"{host}:models"))


def _memory(settings: Settings) -> dict[DeviceId, DeviceSpec]:
    return {one.id: one for one in settings.core.devices if one.unit is Unit.BYTES}


def _of_service(old: Service, new: Service) -> Iterator[tuple[str, Applies]]:
    """Yield the keys that are different, each with how it applies."""
    for key in ("type", "runtime"):
        if getattr(old, key) != getattr(new, key):
            # Another word for the same command is nothing to be restarted for.
            same = old.spec.fingerprint == new.spec.fingerprint
            yield key, Applies.AT_ONCE if same else SERVICE[key]
    if old.spec.fingerprint != new.spec.fingerprint:
        for key in _of_launch(old.launch, new.launch):
            yield key, Applies.RUN
    for field in attrs.fields(ServiceSpec):
        if field.name not in _NOT_WRITTEN and _differ(old.spec, new.spec, field.name):
            key = _SPEC_KEYS.get(field.name, field.name)
            yield key, SERVICE[key]
    for key in _LAUNCH_KEYS:
        if _differ(old.launch, new.launch, key) and not new.model:
            yield key, SERVICE[key]
    if _patterns(old.launch) != _patterns(new.launch) and not new.model:
        yield "failures", Applies.NEXT_START
    for key in ("wait_s", "pull", "metrics"):
        if _differ(old, new, key):
            yield key, SERVICE[key]
    if old.rules != new.rules and not new.model:
        yield "requests", SERVICE["requests"]
    if old.closed != new.closed:
        yield "allow_admin", SERVICE["allow_admin"]


def _of_launch(old: LaunchSpec, new: LaunchSpec) -> Iterator[str]:
    what = new.what
    how = "process"
    if isinstance(what, ContainerSpec):
        how = "container"
    elif isinstance(what, ExternalSpec):
        how = "external"
    if type(old.what) is not type(what):
        yield how
        return
    for field in attrs.fields(type(what)):
        was, now = getattr(old.what, field.name), getattr(what, field.name)
        if was == now:
            continue
        if isinstance(now, Endpoint):
            changed = [one.name for one in attrs.fields(Endpoint) if _differ(was, now, one.name)]
            yield from dict.fromkeys(f"{how}.{_ENDPOINT_KEYS.get(one, 'url')}" for one in changed)
        else:
            yield f"{how}.{_WHAT_KEYS.get(field.name, field.name)}"
    if old.options != new.options:
        yield "options"


def _differ(old: object, new: object, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def _patterns(launch: LaunchSpec) -> list[tuple[str, str, bool, bool]]:
    """Return what is searched for; what advises may be made anew each time."""
    return [(one.kind, one.pattern, one.heals, one.out_of_memory) for one in launch.failures]
