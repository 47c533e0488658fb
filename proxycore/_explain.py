"""Why a service has no room: what it needs, what is free, and what keeps each holder where it is.

Nothing is decided here; what is told is what `_settle` decides by, at that moment.
"""

from collections.abc import Iterable, Mapping

from . import effects as fx
from ._books import ServiceBook
from ._claims import OVERDUE_KILLS
from ._ids import ServiceId
from ._ledger import Candidate, Room
from ._lifecycle import State
from ._verbs import Verbs
from .config import Placement

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
