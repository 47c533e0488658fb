"""What the core decides by: devices, services, limits.  Valid by construction.

Points in time and durations are seconds, memory is bytes.
"""

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from ._errors import LocalError
from ._ids import LOCAL_NODE, DeviceId, NodeId, ServiceId

MIB = 1024 * 1024
GIB = 1024 * MIB

WAIT_S = 600.0
"""How long a request may wait for a place; openai-python and openai-js give up after 600 s."""
START_S = 300.0
"""How long a start may show no sign of life; Ollama's load time-out is 5 min, stall-based too."""
START_MAX_S = 1800.0
"""How long a start may take at most, however lively its log."""
DRAIN_S = 120.0
GRACE_S = 10.0
"""From the polite stop signal to the kill; `docker stop` waits as long."""
QUEUE_MAX = 256
HEADROOM = 512 * MIB
"""Kept free on every device, for the desktop and for what servers allocate late."""

LOAD_S = 10.0
"""The load time of a service that says nothing about it."""
WAKE_S = 2.0
"""The time that a sleeping run takes to wake if nothing says more: memory is copied back."""
IDLE_LOADS = 160.0
IDLE_MIN_S = 300.0
IDLE_MAX_S = 7200.0
"""`idle_s: auto` is 160 load times within 5 min and 2 h.

Stopping idle services early is the costliest habit there is: on public traces a fixed 5 min
needed 2.3 times the load time of never stopping (docs/architecture.md, "Idle").
"""
PATIENCE_S = 30.0
PATIENCE_LOADS = 4.0
"""How long others may pass a waiter: the longer of 30 s and 4 loads.

Shorter, and two busy services swap all the time; longer, and the rare one starves.
"""
BACKOFF_S = 10.0
BACKOFF_MAX_S = 300.0
STABLE_S = 60.0
"""A run that was ready for this long has proved itself: its crash starts a new count."""


def _positive(_: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise LocalError(f"{attribute.name} must be more than 0, not {value!r}")


def _not_negative(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if value < 0:
        raise LocalError(f"{attribute.name} must not be negative, not {value!r}")


class Unit(enum.Enum):
    """What the capacity of a device is counted in."""

    BYTES = "bytes"
    MODELS = "models"
    """No memory: how many models a server holds at once.  Each claims one."""


@attrs.frozen
class DeviceSpec:
    """What services share: a GPU, the main memory of a node, or the models that a server holds."""

    id: DeviceId
    capacity: int = attrs.field(validator=_positive)
    headroom: int = attrs.field(default=HEADROOM, validator=_not_negative)
    node: NodeId = LOCAL_NODE
    unit: Unit = Unit.BYTES

    @property
    def usable(self) -> int:
        """What claims may fill together."""
        return max(0, self.capacity - self.headroom)


@attrs.frozen
class Placement:
    """Where a run may live: bytes on each device it uses, in the order of the device ids."""

    amounts: tuple[tuple[DeviceId, int], ...] = attrs.field(default=())

    @amounts.validator
    def _check(self, _: object, amounts: tuple[tuple[DeviceId, int], ...]) -> None:
        devices = [device for device, _ in amounts]
        if devices != sorted(set(devices)):
            raise LocalError(f"a placement names each device once, in order: {devices}")
        if any(amount <= 0 for _, amount in amounts):
            raise LocalError(f"a placement claims more than 0 bytes on each device: {amounts}")

    @classmethod
    def of(cls, amounts: Iterable[tuple[DeviceId, int]]) -> "Placement":
        """Make a placement from pairs in any order; claims of nothing are left out."""
        return cls(tuple(sorted((device, amount) for device, amount in amounts if amount)))

    @property
    def devices(self) -> tuple[DeviceId, ...]:
        return tuple(device for device, _ in self.amounts)

    def on(self, device: DeviceId) -> int:
        """Return the bytes claimed on a device, 0 if it is none of these."""
        return dict(self.amounts).get(device, 0)

    def less(self, other: "Placement") -> "Placement":
        """Return what remains of it when as much as another has is taken away."""
        taken = dict(other.amounts)
        left = ((device, n - taken.get(device, 0)) for device, n in self.amounts)
        return Placement.of((device, max(0, n)) for device, n in left)

    def within(self, other: "Placement") -> "Placement":
        """Return as much of it as another has as well."""
        most = dict(other.amounts)
        return Placement.of((device, min(n, most.get(device, 0))) for device, n in self.amounts)


@attrs.frozen
class ServiceSpec:
    """One inference server as the core sees it: what it claims, costs and allows.

    A model that a server can load and unload is a service too, with that server as its `host`: its
    load is a start, its unload a stop, its claim what it adds.  It can be loaded only while its
    host is ready.
    """

    id: ServiceId
    """Of a model inside a server: `host/model`."""
    placements: tuple[Placement, ...] = attrs.field(default=(Placement(),))
    """Every placement that would do, the best liked first.  Never empty.

    Of those of a model, the ones that keep to the devices of its host's run are taken; see
    `placements_in`.
    """
    aliases: tuple[str, ...] = ()
    host: ServiceId | None = None
    """The service inside which it lives; None: it is a server of its own."""
    asleep: tuple[Placement, ...] = attrs.field(default=())
    """What a sleeping run still holds, for each of the `placements`; (): it cannot sleep."""
    load_s: float = attrs.field(default=LOAD_S, validator=_positive)
    """The declared time from start to ready: a prior, until it is learnt."""
    wake_s: float = attrs.field(default=WAKE_S, validator=_positive)
    """The declared time from asleep to ready: a prior, until it is learnt."""
    concurrent_max: int | None = attrs.field(default=None, validator=_positive)
    """Requests that a run takes at once; None: as many as come."""
    queue_max: int = attrs.field(default=QUEUE_MAX, validator=_positive)
    """Requests that may wait; at least 1, for the one that a start is made for."""
    priority: int = 0
    """Waiters of a higher priority are served first."""
    pinned: bool = False
    """Once it runs, neither idleness nor want of room stops it."""
    idle_s: float | None = attrs.field(default=None, validator=_positive)
    """Stop after so long without a request; None: never.  See `idle_auto_s`."""
    start_s: float = attrs.field(default=START_S, validator=_positive)
    start_max_s: float = attrs.field(default=START_MAX_S, validator=_positive)
    drain_s: float = attrs.field(default=DRAIN_S, validator=_positive)
    drain_cuts: bool = False
    """What a drain for room does when `drain_s` is over: cut what still runs, or go on serving."""
    grace_s: float = attrs.field(default=GRACE_S, validator=_positive)
    fingerprint: str = ""
    """Of all that it is started with, which the core does not see.

    When a new configuration has another one, a run that lives is out of date.
    """

    def residue(self, home: Placement) -> Placement | None:
        """Return what a run that lives at `home` still holds asleep; None: it cannot sleep there.

        Looked up by the devices: how much it claims there is learnt, and may have changed.
        """
        residues = tuple(zip(self.placements, self.asleep, strict=False))
        for placement, asleep in residues:
            if placement.devices == home.devices:
                return asleep.within(home)
        # It claims what was learnt, where the configuration says nothing.
        nothing = any(not placement.amounts for placement, _ in residues)
        return Placement() if nothing else None

    @placements.validator
    def _check(self, _: object, placements: tuple[Placement, ...]) -> None:
        if not placements:
            raise LocalError(f"service {self.id!r} needs at least one placement")

    @asleep.validator
    def _check_asleep(self, _: object, asleep: tuple[Placement, ...]) -> None:
        if not asleep:
            return
        if len(asleep) != len(self.placements):
            raise LocalError(f"service {self.id!r} has as many residues as placements, or none")
        for residue, placement in zip(asleep, self.placements, strict=True):
            if residue.within(placement) != residue:
                raise LocalError(f"service {self.id!r} claims more asleep than awake: {residue}")

    def placements_in(self, host: "ServiceSpec", place: Placement) -> tuple[Placement, ...]:
        """Return the placements that a model has inside a host that runs at `place`.

        It may not be on a device where the host could have been placed and was not.  What only
        the model uses (main memory, say) is free to it.  If none would be left, all are.
        """
        elsewhere = {device for one in host.placements for device in one.devices}
        elsewhere.difference_update(place.devices)
        inside = (one for one in self.placements if elsewhere.isdisjoint(one.devices))
        return tuple(inside) or self.placements


def patience_s(load_s: float) -> float:
    """Return how long one who waits for such a load lets others pass, and spares who serves."""
    return max(PATIENCE_S, PATIENCE_LOADS * load_s)


def idle_auto_s(load_s: float) -> float:
    """Return the idle time that `idle_s: auto` stands for."""
    return min(max(IDLE_LOADS * load_s, IDLE_MIN_S), IDLE_MAX_S)


@attrs.frozen
class CoreConfig:
    """Everything that the core decides by.

    A service that fits on no device is allowed here: its requests are refused at once, because
    a measurement may prove a declared claim wrong at any time.  The settings reject it earlier.
    """

    devices: tuple[DeviceSpec, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    linger: bool = True
    """Whether an idle run that is likely to be wanted in a moment is spared for that moment.

    False to measure policies alone, where time means nothing.
    """

    def __attrs_post_init__(self) -> None:
        devices = [device.id for device in self.devices]
        if len(set(devices)) != len(devices):
            raise LocalError(f"two devices with one id: {devices}")
        names: dict[str, ServiceId] = {}
        for service in self.services:
            for placement in service.placements:
                for device in placement.devices:
                    if device not in devices:
                        raise LocalError(f"service {service.id!r} claims unknown device {device!r}")
            # The aliases of models are weaker names: see `routing`.
            aliases = service.aliases if service.host is None else ()
            for name in (service.id, *aliases):
                if names.setdefault(name, service.id) != service.id or (
                    name == service.id and name in service.aliases
                ):
                    raise LocalError(f"{name!r} names both {names[name]!r} and {service.id!r}")
        ids = [service.id for service in self.services]
        if len(set(ids)) != len(ids):
            raise LocalError(f"two services with one id: {ids}")
        servers = {service.id for service in self.services if service.host is None}
        for service in self.services:
            if service.host is not None and service.host not in servers:
                raise LocalError(f"the host {service.host!r} of {service.id!r} is no server")
        hosts = {service.host for service in self.services}
        for service in self.services:
            if service.asleep and (service.host is not None or service.id in hosts):
                raise LocalError(f"{service.id!r} unloads models; it cannot sleep as well")
