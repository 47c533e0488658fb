"""The settings in force, and how others are put in their place while services live."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs
import trio
from loguru import logger

from proxycore import ConfigDiff, CoreConfig, DeviceId, EvictionPolicy, ServiceId, Unit

from . import schedules
from .conductor import Conductor
from .experience import ExperienceStore
from .policies import policy_named
from .profiles import Profile
from .refused import Refused
from .runtime import Runtime
from .settings import Changes, Schedule, ServerSettings, Service, Settings, kept

V = TypeVar("V")


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
    """Puts other settings into force, one after the other: the only way in which they change."""

    settings: Settings
    """Those in force.  What needs a restart of the daemon is in them as it runs."""
    _in_force: InForce
    _conductor: Conductor[Any]
    _experience: ExperienceStore
    _runtimes: Mapping[str, Runtime]
    _make_runtime: Callable[[str], Runtime]
    _remember: Callable[[Iterable[str]], Awaitable[None]]
    """Is told which runtimes may hold something of ours from now on."""
    _follow: Callable[[Settings], None]
    """Is told what is in force now, in the moment in which it comes to be."""
    _profile: Profile
    _nursery: trio.Nursery
    """Where services start that are to be there without being asked for."""
    _now: Callable[[], datetime] = schedules.now
    """By the clock on the wall, which schedules go by."""
    _hold: tuple[Schedule, ...] = attrs.field(default=(), init=False)
    """The schedules in force."""
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def begin(self) -> None:
        """Start who is to be there from the beginning."""
        self._start_soon(_kept_running(self.settings, self._profile))

    async def replace(self, settings: Settings) -> Changes:
        """Put settings into force, all that can change while the daemon runs; return what did."""
        async with self._turn:
            return await self._replace(settings)

    @property
    def profile(self) -> str | None:
        """The name of the profile in force; None: none is."""
        return self._profile.name

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Those that hold now."""
        return self._hold

    @property
    def profiles(self) -> Mapping[str, tuple[ServiceId, ...]]:
        """All that the configuration has, with their services."""
        return self.settings.server.profiles

    async def switch(self, profile: str | None) -> None:
        """Let another profile be in force, or none.

        Raises:
            KeyError: there is none of this name.
        """
        async with self._turn:
            if profile is not None and profile not in self.settings.server.profiles:
                raise KeyError(profile)
            self._profile.switch(profile)
            await self._replace(self.settings)
            self._start_soon(self.profiles[profile] if profile is not None else ())
            logger.info("the profile in force is now {}", profile or "none")

    async def follow_schedules(self) -> None:
        """Put schedules into force for ever, each in the minute in which it begins or ends."""
        while True:
            async with self._turn:
                if schedules.covering(self.settings, self._now()) != self._hold:
                    await self._replace(self.settings)
            await trio.sleep(schedules.until_next_s(self._now()))

    async def _replace(self, settings: Settings) -> Changes:
        kept_before = _kept_running(self.settings, self._profile)
        changes = Changes.of(self.settings, settings)
        wanted = attrs.evolve(settings, server=kept(self.settings.server, settings.server))
        policy = self._policy(wanted.server.policy)
        hold = schedules.covering(wanted, self._now())
        actual = schedules.scheduled(self._profile.applied(wanted), hold)
        diff = ConfigDiff.of(self._in_force.core, actual.core)
        used = dict.fromkeys(str(service.runtime) for service in wanted.services.values())
        new = {name: self._make_runtime(name) for name in used if name not in self._runtimes}
        if new:
            await self._remember((*self._runtimes, *new))
        again = self._pinned_that_run(diff.altered, actual)
        await self._conductor.replace(actual.core, actual.services, new)
        # From here to the end there is no checkpoint: nobody sees the half of it.
        if policy is not None:
            self._conductor.value_by(policy)
        self._in_force.core = actual.core
        self._in_force.server = wanted.server
        self._in_force.counted[:] = _counted(wanted.core)
        self.settings = wanted
        self._follow(actual)
        if hold != self._hold:
            self._hold = hold
            logger.info("schedules in force: {}", "; ".join(map(str, hold)) or "none")
        if diff.added:
            self._conductor.note(self._experience.load(trio.current_time(), diff.added))
        kept_now = _kept_running(wanted, self._profile)
        self._start_soon([*again, *(one for one in kept_now if one not in kept_before)])
        _log(changes)
        return changes

    def _policy(self, name: str) -> EvictionPolicy | None:
        return None if name == self.settings.server.policy else policy_named(name)

    def _pinned_that_run(self, altered: Iterable[ServiceId], wanted: Settings) -> list[ServiceId]:
        """Return who is to be there again without being asked for: it was, and nothing ends it."""
        return [
            service
            for service in altered
            if wanted.services[service].spec.pinned
            and self._conductor.view().service(service).run is not None
        ]

    def _start_soon(self, services: Iterable[ServiceId]) -> None:
        for service in dict.fromkeys(services):
            self._nursery.start_soon(self._start, service)

    async def _start(self, service: ServiceId) -> None:
        try:
            await self._conductor.start(service)
        except Refused as no:
            logger.warning("{} does not start, though it is to run: {}", service, no.message)


def _kept_running(settings: Settings, profile: Profile) -> tuple[ServiceId, ...]:
    """Return who is to run without being asked for, in the order in which they start."""
    server = settings.server
    return (*server.preload, *server.profiles.get(profile.name or "", ()))


def _log(changes: Changes) -> None:
    for what, told in changes.as_json().items():
        if isinstance(told, dict):
            told = [f"{service} ({', '.join(keys)})" for service, keys in told.items()]
        if told and what != "needs_restart":  # That is told each time, changed or not.
            logger.info("configuration: {}: {}", what.replace("_", " "), ", ".join(told))
