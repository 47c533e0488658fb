"""Why a service has no room: what it needs, what is free, and what keeps each holder where it is.

Nothing is decided here; what is told is what `_settle` decides by, at that moment.
"""

from collections.abc import Iterable, Mapping

from . import effects as fx
from ._books import ServiceBook
from ._claims import OVERDUE_KILLS
from ._ids import DeviceId, ServiceId
from ._ledger import Candidate, Room
from ._lifecycle import State
from ._verbs import Verbs
from .config import GIB, Placement, Unit

_STAYS = {
    State.RESERVED: fx.Stay.PROMISED,
    State.ROUSING: fx.Stay.PROMISED,
    State.STARTING: fx.Stay.LOADS,
    State.WAKING: fx.Stay.LOADS,
    State.READY: fx.Stay.SERVES,
    State.ASLEEP: fx.Stay.SERVES,
}
"""Of who is no candidate; in other states it leaves."""


def want(
    verbs: Verbs,
    book: ServiceBook,
    placement: Placement,
    promisable: Room,
    *,
    candidates: Iterable[Candidate],
    spared_until: Mapping[ServiceId, float],
    patient_until: float,
) -> fx.Want:
    """Tell of a service that wants this placement why it has not got it."""
    values: dict[ServiceId, float] = {}
    for one in candidates:
        values[one.service] = min(one.value, values.get(one.service, one.value))
    holders = []
    for other in verbs.books.services.values():
        if other is book or other.holds is None:
            continue
        claim = verbs.takes(other)
        if not set(claim.devices) & set(placement.devices):
            continue
        until = spared_until.get(other.id)
        holders.append(
            fx.Holder(
                service=other.id,
                run=other.run,
                claim=claim,
                stays=_stay(verbs, other, is_candidate=other.id in values, spared=until),
                until_at=until,
                value=values.get(other.id),
                load_s=verbs.load_s(other),
                requests=other.learnt.requests(verbs.books.now),
                idle_s=verbs.books.now - other.rested_at if other.unused else 0.0,
            )
        )
    free = tuple((device, max(0, promisable.free[device])) for device in placement.devices)
    strangers = verbs.strangers()
    foreign = tuple((one, strangers[one]) for one in placement.devices if strangers.get(one))
    return fx.Want(placement, free, tuple(holders), patient_until, foreign)


def at_most(verbs: Verbs, book: ServiceBook, room: Room) -> fx.Want:
    """Tell what a service needs, a model together with its host, and what it could have.

    Args:
        verbs: what knows all services.
        book: which of them.
        room: what would be free if all left that ever may, its host not among them.
    """
    host = verbs.hosts.host_of(book)
    if host is not None and host.placement is not None:
        room.give(host.placement)
    placement = min(_ways(verbs, book), key=lambda one: sum(room.shortfall(one).values()))
    foreign = verbs.strangers()
    return fx.Want(
        placement,
        free=tuple((device, max(0, room.free.get(device, 0))) for device in placement.devices),
        holders=(),
        patient_until=verbs.books.now,
        foreign=tuple((one, foreign[one]) for one in placement.devices if foreign.get(one)),
    )


def excess(verbs: Verbs, book: ServiceBook) -> str:
    """Say what a service lacks even where nothing else runs."""
    empty = Room.of(verbs.config.devices)
    lacks = [empty.shortfall(way) for way in _ways(verbs, book)]
    return short(verbs, min(lacks, key=lambda lack: sum(lack.values())), {})


def _ways(verbs: Verbs, book: ServiceBook) -> list[Placement]:
    """Return what a service could claim; while it runs, what it does claim, alone."""
    host, ways = verbs.hosts.host_of(book), []
    lives = [one.home for one in (book, host) if one is not None and one.home is not None]
    for way in [tuple(lives)] if book.run is not None else verbs.ways(book):
        amounts: dict[DeviceId, int] = {}
        for placement in way:
            for device, amount in placement.amounts:
                amounts[device] = amounts.get(device, 0) + amount
        ways.append(Placement.of(amounts.items()))
    return ways


def short(verbs: Verbs, lack: Mapping[DeviceId, int], foreign: Mapping[DeviceId, int]) -> str:
    """Say what is lacking, and what strangers hold of it."""
    unit = {device.id: device.unit for device in verbs.config.devices}
    return ", ".join(
        f"{amount / GIB:.1f} GiB more needed on {device}"
        + (f" (others hold {foreign[device] / GIB:.1f} GiB)" if foreign.get(device) else "")
        if unit.get(device, Unit.BYTES) is Unit.BYTES
        else "its host holds as many models at once as it may"
        for device, amount in lack.items()
    )


def _stay(
    verbs: Verbs, book: ServiceBook, *, is_candidate: bool, spared: float | None
) -> fx.Stay | None:
    if spared is not None:
        return fx.Stay.WANTED_SOON
    if is_candidate:
        return None
    if book.lost is not None:
        return fx.Stay.LOST
    if book.state is State.STOPPING and book.kills >= OVERDUE_KILLS:
        return fx.Stay.STUCK
    if verbs.specs[book.id].pinned and book.state in _STAYS and book.promised is None:
        return fx.Stay.PINNED
    return _STAYS.get(book.state, fx.Stay.LEAVING)
