"""A picture of the core for people, metrics and tests: frozen, and older at once."""

import attrs

from ._ids import DeviceId, RunId, ServiceId
from ._learn import Experience
from ._lifecycle import State
from .config import Placement, Unit
from .events import Cause


@attrs.frozen
class ServiceView:
    """One service, or a model inside one."""

    id: ServiceId
    state: State
    run: RunId | None
    why: str
    """Why it is in this state."""
    since_at: float
    placement: Placement | None
    """What it claims: asleep, what a sleeping run still holds."""
    waiting: int
    in_flight: int
    idle_until: float | None
    """When it will sleep or be stopped for idleness, if nothing comes."""
    retry_at: float | None
    """When a failed service may start again."""
    failures: int
    """In a row."""
    cause: Cause | None
    """Why the last run failed."""
    lost: str | None
    """Why what runs it cannot be reached."""
    estimates: tuple[Placement, ...] = ()
    """What it would claim at each place where it may live: as learnt, else as declared."""
    experience: Experience = attrs.field(factory=Experience)
    promised: Placement | None = None
    """Room that is promised to it beside its claim."""
    host: ServiceId | None = None
    """Of a model: the server inside which it lives."""
    is_removed: bool = False
    """It is out of the configuration, and its last run is leaving."""


@attrs.frozen
class DeviceView:
    """One device."""

    id: DeviceId
    capacity: int
    headroom: int
    claimed: int
    """By runs that live, the leaving ones too."""
    reserved: int
    """Promised to services that wait for it."""
    free: int
    """For new claims, now."""
    measured_free: int | None = None
    """What is free by the last measurement; None: unknown, and claims alone count."""
    foreign: int | None = None
    """What programs hold that are none of our runs; None: unknown."""
    unit: Unit = Unit.BYTES
    """What all the figures are counted in."""


@attrs.frozen
class CoreView:
    """Everything, in the order of the configuration; then what is out of it and still leaves."""

    services: tuple[ServiceView, ...]
    devices: tuple[DeviceView, ...]

    def service(self, service: ServiceId) -> ServiceView:
        """Return the view of one service.

        Raises:
            KeyError: there is no such service.
        """
        for view in self.services:
            if view.id == service:
                return view
        raise KeyError(service)
