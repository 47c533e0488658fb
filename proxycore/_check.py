"""What may be told to the core: all that is the caller's fault is refused before any change."""

from . import events as ev
from ._books import Books
from ._errors import LocalError
from ._ids import DeviceId, ServiceId
from .config import CoreConfig, ServiceSpec, Unit

_LEAVERS = (ev.StopRequested, ev.RuntimeLost, ev.RuntimeFound)
"""What may be told of a service that is out of the configuration, as long as its run lives."""


def check(event: ev.Event, now: float, config: CoreConfig, books: Books) -> None:
    """Refuse what cannot be; nothing is changed here, nor has anything been.

    Raises:
        LocalError: says what is wrong with the event, or with its time.
    """
    if not now >= books.now:
        raise LocalError(f"the clock ran backwards: {now!r} after {books.now!r}")
    if isinstance(event, ev.RunEvent):
        # The service may be forgotten by now: an answer that comes too late is normal.
        if event.run > books.run_max:
            raise LocalError(f"run {event.run} was never started")
        return
    for service in _services_of(event):
        book = books.services.get(service)
        if book is None or (book.retired is not None and not isinstance(event, _LEAVERS)):
            raise LocalError(f"unknown service {service!r}")
    match event:
        case ev.RequestArrived() | ev.StartRequested() | ev.RestartRequested():
            if event.ticket <= books.ticket_max:
                raise LocalError(f"ticket {event.ticket} is not above {books.ticket_max}")
        case ev.RequestFinished():
            if event.ticket > books.ticket_max:
                raise LocalError(f"ticket {event.ticket} never arrived")
        case ev.SleepRequested():
            if not _spec(event.service, config).asleep:
                raise LocalError(f"service {event.service!r} cannot sleep")
        case ev.RunsFound():
            _check_found(event, config, books)
        case ev.MemoryMeasured():
            _check_device(event.device, config)
            if not 0 <= event.free <= event.total or any(n < 0 for _, n in event.by_run):
                raise LocalError(f"figures that cannot be: {event}")
        case ev.MemoryUnknown():
            for device in event.devices:
                _check_device(device, config)
        case ev.ConfigReplaced():
            _check_replaced(event.config, config, books)
        case _:
            pass


def _check_replaced(new: CoreConfig, old: CoreConfig, books: Books) -> None:
    units = {device.id: device.unit for device in old.devices}
    for device in new.devices:
        if units.get(device.id, device.unit) is not device.unit:
            raise LocalError(f"device {device.id!r} cannot be counted in something else")
    hosts = {spec.id: spec.host for spec in old.services}
    hosts |= {
        book.id: book.retired.host for book in books.services.values() if book.retired is not None
    }
    for spec in new.services:
        if hosts.get(spec.id, spec.host) != spec.host:
            raise LocalError(f"service {spec.id!r} cannot move into or out of a host")


def _check_device(device: DeviceId, config: CoreConfig) -> None:
    if all(one.id != device or one.unit is not Unit.BYTES for one in config.devices):
        raise LocalError(f"no memory: {device!r}")


def _check_found(event: ev.RunsFound, config: CoreConfig, books: Books) -> None:
    if any(book.run is not None for book in books.services.values()):
        raise LocalError("runs are found before any is started")
    services = [found.service for found in event.found]
    if len(set(services)) != len(services):
        raise LocalError(f"two found runs of one service: {services}")
    devices = {device.id for device in config.devices}
    for found in event.found:
        if found.run > event.run_max:
            raise LocalError(f"found run {found.run} is above run_max {event.run_max}")
        host = next(one.host for one in config.services if one.id == found.service)
        if host is not None and host not in services:
            raise LocalError(f"{found.service} is found without its host {host}")
        if not devices.issuperset(found.placement.devices):
            raise LocalError(f"found run {found.run} is on an unknown device")
        if found.asleep and _spec(found.service, config).residue(found.placement) is None:
            raise LocalError(f"found run {found.run} sleeps where it cannot")


def _spec(service: ServiceId, config: CoreConfig) -> ServiceSpec:
    return next(spec for spec in config.services if spec.id == service)


def _services_of(event: ev.Event) -> tuple[ServiceId, ...]:
    match event:
        case ev.RuntimeLost() | ev.RuntimeFound():
            return event.services
        case ev.RunsFound():
            return tuple(found.service for found in event.found)
        case ev.ExperienceFound():
            return tuple(service for service, _ in event.experiences)
        case (
            ev.RequestFinished()
            | ev.ShutdownRequested()
            | ev.MemoryMeasured()
            | ev.MemoryUnknown()
            | ev.ConfigReplaced()
            | ev.Tick()
        ):
            return ()
        case _:
            return (event.service,)
