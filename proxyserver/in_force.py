"""The settings in force, and how others are put in their place while services live."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs
import trio
from loguru import logger

from proxycore import ConfigDiff, CoreConfig, DeviceId, DeviceSpec, ServiceId, Unit

from .conductor import Conductor
from .experience import ExperienceStore
from .runtime import Runtime
from .settings import ServerSettings, Service, Settings

V = TypeVar("V")


class NeedsRestart(Exception):
    """What is different cannot change while the daemon runs; the text says what it is."""


@attrs.define(eq=False)
class InForce:
    """What others look at each time that they need it, instead of keeping it."""

    core: CoreConfig
    server: ServerSettings
    services: dict[ServiceId, Service]
    """Those out of the configuration are among them until they are gone; see `Conductor`."""
    counted: list[DeviceId]
    """The devices that have no bytes, but places for models."""

    @classmethod
    def of(cls, settings: Settings) -> "InForce":
        counted = _counted(settings.core)
        return cls(settings.core, settings.server, dict(settings.services), counted)


def _counted(core: CoreConfig) -> list[DeviceId]:
    return [device.id for device in core.devices if device.unit is not Unit.BYTES]


@attrs.frozen(eq=False)
class Each(Mapping[ServiceId, V], Generic[V]):
    """What each of the services has, as of now."""

    _services: Mapping[ServiceId, Service]
    _part: Callable[[Service], V]

    def __getitem__(self, service: ServiceId) -> V:
        return self._part(self._services[service])

    def __iter__(self) -> Iterator[ServiceId]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


@attrs.define(eq=False)
class Replacer:
    """Puts other settings into force, one after the other."""

    _in_force: InForce
    _conductor: Conductor[Any]
    _experience: ExperienceStore
    _runtimes: Mapping[str, Runtime]
    _make_runtime: Callable[[str], Runtime]
    _remember: Callable[[Iterable[str]], Awaitable[None]]
    """Is told which runtimes may hold something of ours from now on."""
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def replace(self, settings: Settings) -> ConfigDiff:
        """Put settings into force; return what is different.

        Raises:
            NeedsRestart: something is different that cannot change; nothing has.
        """
        async with self._turn:
            check_replaceable(self._in_force.core, self._in_force.server, settings)
            diff = ConfigDiff.of(self._in_force.core, settings.core)
            used = dict.fromkeys(str(service.runtime) for service in settings.services.values())
            new = {name: self._make_runtime(name) for name in used if name not in self._runtimes}
            if new:
                await self._remember((*self._runtimes, *new))
            await self._conductor.replace(settings.core, settings.services, new)
            # From here to the end there is no checkpoint: nobody sees the half of it.
            self._in_force.core = settings.core
            self._in_force.counted[:] = _counted(settings.core)
            if diff.added:
                self._conductor.note(self._experience.load(trio.current_time(), diff.added))
            _log(diff)
            return diff


def check_replaceable(core: CoreConfig, server: ServerSettings, settings: Settings) -> None:
    """Refuse settings that cannot take the place of others while the daemon runs.

    Raises:
        NeedsRestart: says which.
    """
    fields = [field.name for field in attrs.fields(ServerSettings)]
    others = [one for one in fields if getattr(server, one) != getattr(settings.server, one)]
    if _memory(core) != _memory(settings.core):
        others.append("devices")
    if others:
        what = ", ".join(f"server.{one}" for one in others)
        raise NeedsRestart(f"{what}: what is different there needs a restart of the daemon")


def _memory(core: CoreConfig) -> list[DeviceSpec]:
    return [device for device in core.devices if device.unit is Unit.BYTES]


def _log(diff: ConfigDiff) -> None:
    for what, services in (
        ("new", diff.added),
        ("started in another way", diff.altered),
        ("with other limits", diff.adjusted),
        ("taken out", diff.removed),
    ):
        if services:
            logger.info("configuration: {}: {}", what, ", ".join(services))
