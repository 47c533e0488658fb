"""Claims against capacity: pure arithmetic on vectors of bytes by device."""

import math
from collections.abc import Iterable, Sequence
from operator import add, gt, mul, sub, truediv
from typing import TypeAlias

import attrs

from ._ids import DeviceId, ServiceId
from .config import DeviceSpec, Placement

NODES_MAX = 2048
"""How many sets the search for victims looks at: at most some 3 ms, surely exact up to 10
candidates and mostly far beyond.  Then the best set found so far is taken, which is no worse than
the greedy one."""
ROUNDING = 1.0 + 1e-9
"""A bound on a sum of values may be off by the rounding of its terms."""

_Bytes: TypeAlias = tuple[int, ...]
"""Bytes on each of the devices where any are missing, in the order of their ids."""


@attrs.define
class Room:
    """Bytes free on each device; below zero where more is promised than there is.

    A device that is no more has nothing free; runs may live there for a while yet.
    """

    free: dict[DeviceId, int]

    @classmethod
    def of(cls, devices: Iterable[DeviceSpec]) -> "Room":
        """Return the room of empty devices: capacity less headroom."""
        return cls({device.id: device.usable for device in devices})

    def copy(self) -> "Room":
        return Room(dict(self.free))

    def take(self, placement: Placement) -> None:
        for device, amount in placement.amounts:
            self.free[device] = self.free.get(device, 0) - amount

    def give(self, placement: Placement) -> None:
        for device, amount in placement.amounts:
            self.free[device] = self.free.get(device, 0) + amount

    def lose(self, device: DeviceId, amount: int) -> None:
        self.free[device] -= amount

    def fits(self, placement: Placement) -> bool:
        return all(amount <= self.free.get(device, 0) for device, amount in placement.amounts)

    def fits_all(self, placements: Iterable[Placement]) -> bool:
        """Tell whether several fit together."""
        left = self.copy()
        for placement in placements:
            left.take(placement)
        return min(left.free.values(), default=0) >= 0

    def left_by(self, placement: Placement) -> int:
        """Return what would stay free on the devices of a placement: little is a good fit."""
        return sum(self.free[device] - amount for device, amount in placement.amounts)

    def shortfall(self, placement: Placement) -> dict[DeviceId, int]:
        """Return the bytes that are missing, by device, where any are."""
        return {
            device: amount - self.free.get(device, 0)
            for device, amount in placement.amounts
            if amount > self.free.get(device, 0)
        }


@attrs.frozen
class Candidate:
    """One way in which a run may leave to make room, and what that would cost by the policy.

    A run that can sleep has two ways: to be stopped, and to sleep, which frees less.
    """

    service: ServiceId
    placement: Placement
    """What it would free."""
    value: float
    """What that would cost."""
    takes_along: tuple[ServiceId, ...] = ()
    """What lives inside it, and must be in the same set; all of these are candidates too."""
    load_s: float = 0.0
    """What it would take to bring it back."""
    sleeps: bool = False


def cheapest_victims(
    short: dict[DeviceId, int], candidates: Sequence[Candidate]
) -> tuple[Candidate, ...] | None:
    """Return the set with the least summed value that covers the shortfall.

    Of sets that cost the same the smaller is taken, then the one first by service id.
    None if even all candidates together do not cover it: nobody shall leave in vain.
    """
    devices = tuple(sorted(short))
    lacking = tuple(short[device] for device in devices)
    gains: list[tuple[bool, float, float, Candidate, _Bytes]] = []
    hosts_first = sorted(candidates, key=lambda one: not one.takes_along)
    inside: set[ServiceId] = set()
    for candidate in hosts_first:
        amounts = dict(candidate.placement.amounts)
        gain = tuple(min(amounts.get(device, 0), short[device]) for device in devices)
        share = sum(map(truediv, gain, lacking))
        if share or candidate.service in inside:
            inside.update(candidate.takes_along)
            bargain = candidate.value / share if share else math.inf
            gains.append((bool(candidate.takes_along), bargain, -share, candidate, gain))
    # The best bargains first: the first set found is a good one, and bounds cut the rest early.
    # A host comes after what it takes along, so that it is known whether that leaves.
    gains.sort(key=lambda one: (*one[:3], one[3].service, not one[3].sleeps))
    rest, prices = _bounds([(candidate, gain) for *_, candidate, gain in gains], devices)
    if any(map(gt, lacking, rest[0])):
        return None

    best: tuple[float, int, tuple[tuple[ServiceId, bool], ...]] | None = None
    chosen: tuple[Candidate, ...] = ()
    visited = 0
    # Depth first, taking before leaving out.
    stack: list[tuple[int, float, tuple[Candidate, ...], _Bytes]] = [(0, 0.0, (), lacking)]
    while stack and (best is None or visited < NODES_MAX):
        index, value, taken, missing = stack.pop()
        visited += 1
        if max(missing, default=0) <= 0:
            ways = tuple(sorted((one.service, not one.sleeps) for one in taken))
            rank = (value, len(taken), ways)
            if best is None or rank < best:
                best, chosen = rank, taken
            continue
        if any(map(gt, missing, rest[index])):
            continue
        if best is not None:
            least = value + max(map(mul, missing, prices[index]))
            if least > best[0] * ROUNDING or (value, len(taken)) >= best[:2]:
                continue
        *_, candidate, gain = gains[index]
        stack.append((index + 1, value, taken, missing))
        if any(one.service == candidate.service for one in taken):
            continue
        if candidate.takes_along and not {one.service for one in taken}.issuperset(
            candidate.takes_along
        ):
            continue
        less = tuple(map(sub, missing, gain))
        stack.append((index + 1, value + candidate.value, (*taken, candidate), less))
    if best is None:
        return None
    return tuple(sorted(_needed(chosen, short), key=lambda one: one.service))


def _bounds(
    gains: Sequence[tuple[Candidate, _Bytes]], devices: Sequence[DeviceId]
) -> tuple[list[_Bytes], list[tuple[float, ...]]]:
    """Return what the services from each index on give at most, and the best price of a byte.

    Each gives by the way that gives most.  A branch that cannot cover what is missing any more, or
    not for less than the best set costs, need not be looked at.
    """
    rest: list[_Bytes] = [(0,) * len(devices)]
    prices = [(math.inf,) * len(devices)]
    given: dict[ServiceId, _Bytes] = {}
    for candidate, gain in reversed(gains):
        before = given.get(candidate.service, rest[0])
        most = given[candidate.service] = tuple(map(max, before, gain))
        rest.append(tuple(map(add, rest[-1], map(sub, most, before))))
        own = (candidate.value / amount if amount else math.inf for amount in gain)
        prices.append(tuple(map(min, prices[-1], own)))
    # No price where none gives any: that branch is cut already, and 0 x infinity is no number.
    finite = [tuple(0.0 if one == math.inf else one for one in row) for row in prices]
    return rest[::-1], finite[::-1]


def _needed(victims: tuple[Candidate, ...], short: dict[DeviceId, int]) -> list[Candidate]:
    """Leave out who need not leave, the dearest first: a search cut short may find such sets."""
    spare = Room({device: -amount for device, amount in short.items()})
    gains = {
        victim.service: Placement.of(
            (device, amount) for device, amount in victim.placement.amounts if device in short
        )
        for victim in victims
    }
    for gain in gains.values():
        spare.give(gain)
    needed: list[Candidate] = []
    # Hosts first: what one takes along must leave as long as it does.
    for victim in sorted(victims, key=lambda one: (not one.takes_along, -one.value, one.service)):
        gain = gains[victim.service]
        along = any(victim.service in other.takes_along for other in needed)
        if spare.fits(gain) and not along:
            spare.take(gain)
        else:
            needed.append(victim)
    return needed
