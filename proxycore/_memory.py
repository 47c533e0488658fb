"""What is measured of devices: how much of it no claim covers, and when a leaver's is back.

Two truths are kept side by side, because each misses what the other sees.  Claims tell what runs
may take at any time, though some of them have not taken it yet; a measurement tells what strangers
hold, what a run took beyond its claim, and what a driver has not given back.  So what is free is
the capacity (or what the device really has, if that is less), less all claims, less all that is
used and covered by no claim, less the headroom.
"""

import attrs

from ._ids import RAM, DeviceId, RunId
from ._lifecycle import State
from .config import Placement

LOW_S = 5.0
"""So long less than the headroom must be free before an idle run is stopped for that."""
VERIFY_S = 5.0
"""How long the memory of a run that is gone may take to come back; Ollama waits as long."""
VERIFY_PART = 0.75
"""So much of it has to be back.  The rest counts as used by a stranger, so nobody relies on it."""

LEAVING = frozenset((State.STOPPING, State.VERIFYING, State.SLEEPING))
"""The memory of these is about to come back.  For membership tests only."""


@attrs.define
class DeviceBook:
    """The last measurement of one device, in bytes."""

    total: int
    free: int
    by_run: dict[RunId, int]
    """What our runs hold, as far as it is known."""
    complete: bool
    """Whether a run that is not in `by_run` is known to hold nothing."""
    calm: int | None = None
    """What strangers held when no run of ours was leaving: a driver gives back late, and what it
    has not given back yet looks like a stranger's."""
    low_since: float | None = None
    """Since when less than the headroom is free."""


@attrs.frozen
class Holding:
    """A run that has memory, as far as memory is concerned."""

    state: State
    loaded: bool
    run: RunId | None
    """None: it is gone, its memory is on its way back."""
    placement: Placement
    leaves: bool
    """Whether it is counted on to leave."""
    host: RunId | None
    """Of a model: the run that it is part of, if what that holds is known."""
    claims: tuple[Placement, ...]
    """Its own, and those of what lives inside it."""


@attrs.frozen
class Unclaimed:
    """The bytes of a device that are used and covered by no claim."""

    now: int
    later: int
    """The same once all that leaves has left."""
    foreign: int
    """How much of `now` belongs to no run of ours."""
    foreign_later: int
    """How much of `later` does."""


def held(device: DeviceId, measured: DeviceBook, one: Holding) -> int:
    """Return what a run holds; where that is not known, what it claims once it is loaded."""
    if one.run is None or one.host in measured.by_run:
        return 0
    seen = measured.by_run.get(one.run)
    if seen is not None:
        return seen
    if measured.complete or not one.loaded:
        return 0
    return one.placement.on(device)


def unclaimed(device: DeviceId, measured: DeviceBook, holding: list[Holding]) -> Unclaimed:
    """Return how much of a device is used by nobody's claim."""
    rest = measured.total - measured.free
    over_now = over_later = 0
    for one in holding:
        claim = sum(each.on(device) for each in one.claims)
        seen = held(device, measured, one)
        rest -= min(seen, claim)
        over_now += max(0, seen - claim)
        over_later += 0 if one.leaves else max(0, seen - claim)
    # Of main memory runs may hold more than is in use: the kernel can have its cache of their
    # files back at any time.
    rest = max(0, rest)
    over_now, over_later = min(over_now, rest), min(over_later, rest)
    foreign = rest - over_now
    stays = foreign
    if measured.calm is not None and is_leaving(device, measured, holding):
        stays = min(foreign, measured.calm)
    return Unclaimed(foreign + over_now, stays + over_later, foreign, stays)


def is_leaving(device: DeviceId, measured: DeviceBook, holding: list[Holding]) -> bool:
    """Tell whether memory of the device is about to come back."""
    return any(
        one.state in LEAVING and (one.placement.on(device) or held(device, measured, one))
        for one in holding
    )


def is_verifiable(device: DeviceId) -> bool:
    """Tell whether the memory of a run may be away for longer than the run.

    The kernel has main memory back before it says that a process is gone.
    """
    return device != RAM
