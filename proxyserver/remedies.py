"""What would help a service that lacks memory: the core's figures, and its template's words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from proxycore import (
    RAM,
    Cause,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Effect,
    Reason,
    Refuse,
    ServiceId,
    Unit,
    Want,
)

from .decisions import needs
from .runtime import ContainerSpec
from .settings import Service
from .templates import Room

UNLIMITED = 1 << 60
OF_ROOM = (Reason.NEVER_FITS, Reason.QUEUE_TIMEOUT)
"""Why those are refused who might be helped by less memory."""
MEMORY_LIMIT = "ram_oom"
"""The kind of the cause that the kernel killed a container at its own limit."""


class Figures(Protocol):
    """What the core knows."""

    @property
    def config(self) -> CoreConfig: ...
    def at_most(self, service: ServiceId) -> Want:
        """Tell what a service claims, and what it could have if all left that ever may."""


@attrs.frozen
class Remedies:
    """Adds to what the core and the runtimes say of memory what would help."""

    _services: Mapping[ServiceId, Service]
    _core: Callable[[], Figures]

    @property
    def _devices(self) -> Sequence[DeviceSpec]:
        return self._core().config.devices

    def of_failure(self, service: ServiceId, cause: Cause) -> Cause:
        """Return the cause of a run's end, with what would help if it is one of memory."""
        if not cause.out_of_memory and cause.kind != MEMORY_LIMIT:
            return cause
        most = self._core().at_most(service)
        figures = "It claims no memory, so none was made free for it: declare `memory`"
        if most.placement.amounts:
            figures = self._figures(service, most, "claimed")
        advice = self._advice(service, self._room_of_failed(service, cause, most))
        return attrs.evolve(cause, message=_sentences(cause.message, figures, advice))

    def with_words(self, effect: Effect) -> Effect:
        """Return an effect; a refusal for want of room that will not come, with what would help."""
        if not isinstance(effect, Refuse) or effect.reason not in OF_ROOM:
            return effect
        most = self._core().at_most(effect.service)
        free = dict(most.free)
        lacks = any(amount > free[device] for device, amount in most.placement.amounts)
        if not lacks or (effect.reason is Reason.QUEUE_TIMEOUT and effect.want is None):
            return effect  # It waited for what may come: the next has more luck, perhaps.
        figures = self._figures(effect.service, most, "needs")
        advice = self._advice(effect.service, self._room(most))
        return attrs.evolve(effect, message=_sentences(effect.message, figures, advice))

    def _figures(self, service: ServiceId, most: Want, verb: str) -> str:
        who = str(service)
        if (host := self._services[service].spec.host) is not None:
            who += f", with {host}, in which it lives,"
        counted = [device.id for device in self._devices if device.unit is not Unit.BYTES]
        return needs(who, most, counted, verb=verb, at_most=" at most")

    def _advice(self, service: ServiceId, room: Room) -> str:
        remedy = self._services[service].remedy
        return "" if remedy is None else remedy(room)

    def _room_of_failed(self, service: ServiceId, cause: Cause, most: Want) -> Room:
        room, what = self._room(most), self._services[service].launch.what
        if cause.kind == MEMORY_LIMIT:
            limit = what.memory_limit if isinstance(what, ContainerSpec) else None
            return attrs.evolve(room, ram=min(room.ram, limit or UNLIMITED))
        # Where there is a GPU, it was the GPU that was full.
        if gpus := self._gpus(most):
            return attrs.evolve(room, wanted_vram=sum(map(most.placement.on, gpus)))
        return attrs.evolve(room, wanted_ram=most.placement.on(RAM))

    def _room(self, most: Want) -> Room:
        free, gpus = dict(most.free), self._gpus(most)
        total = sum(device.capacity for device in self._devices if device.id in gpus)
        return Room(sum(free[gpu] for gpu in gpus), free.get(RAM, UNLIMITED), total)

    def _gpus(self, most: Want) -> list[DeviceId]:
        every = [one.id for one in self._devices if one.id != RAM and one.unit is Unit.BYTES]
        return [device for device in most.placement.devices if device in every]


def _sentences(message: str, *more: str) -> str:
    """Add sentences to a message, each with its capital."""
    added = [one[:1].upper() + one[1:] for one in more if one]
    return ". ".join([message.rstrip("."), *added])
