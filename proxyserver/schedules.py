"""Schedules: at which hours of the week which idle time holds, on top of the configuration."""

from datetime import UTC, datetime

import attrs

from proxycore import CoreConfig

from .settings import Schedule, Service, Settings, idle_s

EVERY_S = 60.0
"""Hours are written in minutes."""


def now() -> datetime:
    """Return the present, by the clock on the wall."""
    return datetime.now(UTC)


def until_next_s(at: datetime) -> float:
    """Return how long it is until the next full minute, when a schedule may begin or end."""
    return EVERY_S - at.second - at.microsecond / 1e6


def covering(settings: Settings, at: datetime) -> tuple[Schedule, ...]:
    """Return the schedules that hold at a point in time, in their order."""
    return tuple(one for one in settings.server.schedules if one.covers(at))


def scheduled(settings: Settings, hold: tuple[Schedule, ...]) -> Settings:
    """Return what a configuration is while these schedules hold."""
    if not hold:
        return settings
    services = {name: _scheduled(one, hold) for name, one in settings.services.items()}
    specs = tuple(one.spec for one in services.values())
    core = CoreConfig(settings.core.devices, specs, settings.core.linger)
    return attrs.evolve(settings, core=core, services=services)


def _scheduled(service: Service, hold: tuple[Schedule, ...]) -> Service:
    spec = service.spec
    for schedule in hold:
        named = schedule.services
        if named is None or spec.id in named or spec.host in named:
            idle = idle_s(schedule.idle_s, spec.load_s)
            return attrs.evolve(service, spec=attrs.evolve(spec, idle_s=idle))
    return service
