"""The view of the core, drawn from its books."""

from ._books import ServiceBook
from ._claims import Claims
from ._ledger import Room
from ._lifecycle import State
from .config import Placement
from .view import CoreView, DeviceView, ServiceView


def picture(claims: Claims) -> CoreView:
    """Return a picture of everything."""
    config, books = claims.config, claims.books
    now_free, promisable = claims.rooms()
    claimed, reserved = Room.of(config.devices), Room.of(config.devices)
    for book in books.services.values():
        claimed.take(book.placement or Placement())
        reserved.take(book.promised or Placement())
    measured, foreign = books.measured, claims.foreign()
    devices = tuple(
        DeviceView(
            id=device.id,
            unit=device.unit,
            capacity=device.capacity,
            headroom=device.headroom,
            claimed=device.usable - claimed.free[device.id],
            measured_free=measured[device.id].free if device.id in measured else None,
            foreign=foreign.get(device.id),
            reserved=device.usable - reserved.free[device.id],
            free=max(0, min(now_free.free[device.id], promisable.free[device.id])),
        )
        for device in config.devices
    )
    return CoreView(tuple(_service(claims, book) for book in books.services.values()), devices)


def _service(claims: Claims, book: ServiceBook) -> ServiceView:
    return ServiceView(
        id=book.id,
        host=claims.specs[book.id].host,
        state=book.state,
        run=book.run,
        why=book.why,
        since_at=book.since_at,
        placement=book.placement,
        promised=book.promised,
        estimates=claims.placements(book),
        experience=book.learnt.experience,
        waiting=len(book.waiting),
        in_flight=len(book.in_flight),
        idle_until=book.timer_at if book.state in (State.READY, State.ASLEEP) else None,
        retry_at=book.timer_at if book.state is State.BACKOFF else None,
        failures=book.failures,
        cause=book.cause,
        lost=book.lost,
        is_removed=book.retired is not None,
    )
