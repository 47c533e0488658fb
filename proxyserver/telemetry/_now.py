"""What is so at this moment, as numbers: states, queues, memory.  Nothing is kept of it."""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from proxycore import RAM, CoreView, DeviceId, RunId, ServiceId, ServiceView, State, Unit
from proxyserver.gauges import Measurement

from . import catalogue as cat
from ._store import Values
from .catalogue import Metric

Reading: TypeAlias = tuple[Metric, Values, float]


class Measured(Protocol):
    """Who knows what was measured."""

    def measurement(self, device: DeviceId) -> Measurement | None:
        """Return the last measurement, unless it is too old to be trusted."""


def readings(
    view: CoreView, measured: Measured, started_at: Mapping[ServiceId, float], now: float
) -> Iterator[Reading]:
    """Yield all gauges.

    Args:
        view: Of the core.
        measured: Who knows the memory.
        started_at: Since when the runs of services live, by the core's time.
        now: The core's time.
    """
    for service in view.services:
        of = (service.id,)
        for state in State:
            yield cat.SERVICE_STATE, (*of, state.value), float(service.state is state)
        yield cat.QUEUE_DEPTH, of, service.waiting
        yield cat.HTTP_ACTIVE, of, service.waiting + service.in_flight
        if service.id in started_at:
            yield cat.RUN_UPTIME, of, now - started_at[service.id]
        yield from _claims(service)
    services = {service.run: service.id for service in view.services if service.run is not None}
    for device in view.devices:
        if device.unit is not Unit.BYTES:
            continue
        if (seen := measured.measurement(device.id)) is not None:
            yield from _of_device(seen, services)


def _claims(service: ServiceView) -> Iterator[Reading]:
    held = service.placement or service.promised
    for device, amount in held.amounts if held is not None else ():
        yield cat.MEMORY_RESERVED, (device, service.id), amount
    # Where it may live at several places, the most that it may claim of each device.
    most: dict[DeviceId, int] = {}
    for place in service.estimates:
        for device, amount in place.amounts:
            most[device] = max(amount, most.get(device, 0))
    for device, amount in most.items():
        yield cat.MEMORY_ESTIMATED, (device, service.id), amount


def _of_device(seen: Measurement, services: Mapping[RunId, ServiceId]) -> Iterator[Reading]:
    of = (seen.device,)
    for run, amount in seen.by_run.items():
        if run in services:
            yield cat.MEMORY_MEASURED, (seen.device, services[run]), amount
            if seen.device == RAM:
                yield cat.RUN_MEMORY, (services[run],), amount
    if seen.foreign is not None:
        yield cat.MEMORY_FOREIGN, of, seen.foreign
    if seen.device == RAM:
        yield cat.MEMORY_USAGE, of, seen.used
        yield cat.MEMORY_LIMIT, of, seen.total
        return
    yield cat.GPU_MEMORY_USAGE, of, seen.used
    yield cat.GPU_MEMORY_LIMIT, of, seen.total
    for metric, value in (
        (cat.GPU_UTILIZATION, seen.vitals.utilization),
        (cat.TEMPERATURE, seen.vitals.temperature_c),
        (cat.POWER, seen.vitals.power_w),
    ):
        if value is not None:
            yield metric, of, value
