"""Claims against capacity: pure arithmetic on vectors of bytes by device."""

from collections.abc import Iterable, Sequence

import attrs

from ._ids import DeviceId, ServiceId
from .config import DeviceSpec, Placement

NODES_MAX = 20_000
"""How many sets the search for victims looks at: at most some 10 ms, exact up to 10 and more
candidates.  Beyond, the best set found so far is taken, which is no worse than the greedy one."""


@attrs.define
class Room:
    """Bytes free on each device; below zero where more is promised than there is."""

    free: dict[DeviceId, int]

    @classmethod
    def of(cls, devices: Iterable[DeviceSpec]) -> "Room":
        """Return the room of empty devices: capacity less headroom."""
        return cls({device.id: device.usable for device in devices})

    def copy(self) -> "Room":
        return Room(dict(self.free))

    def take(self, placement: Placement) -> None:
        for device, amount in placement.amounts:
            self.free[device] -= amount

    def give(self, placement: Placement) -> None:
        for device, amount in placement.amounts:
            self.free[device] += amount

    def lose(self, device: DeviceId, amount: int) -> None:
        self.free[device] -= amount

    def fits(self, placement: Placement) -> bool:
        return all(amount <= self.free[device] for device, amount in placement.amounts)

    def left_by(self, placement: Placement) -> int:
        """Return what would stay free on the devices of a placement: little is a good fit."""
        return sum(self.free[device] - amount for device, amount in placement.amounts)

    def shortfall(self, placement: Placement) -> dict[DeviceId, int]:
        """Return the bytes that are missing, by device, where any are."""
        return {
            device: amount - self.free[device]
            for device, amount in placement.amounts
            if amount > self.free[device]
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
    load_s: float = 0.0
    """What it would take to bring it back."""
    sleeps: bool = False


def cheapest_victims(
    short: dict[DeviceId, int], candidates: Sequence[Candidate]
) -> tuple[Candidate, ...] | None:
    """Return the set with the least summed value that covers the shortfall.

    A service is in it once, by one of its ways.  Of sets that cost the same the smaller is taken,
    then the one first by service id, who sleeps before who is stopped.
    None if even all candidates together do not cover it: nobody shall leave in vain.
    """
    gains: list[tuple[Candidate, dict[DeviceId, int]]] = []
    for candidate in sorted(candidates, key=lambda one: (one.value, one.service, not one.sleeps)):
        gain = {device: n for device, n in candidate.placement.amounts if device in short}
        if gain:
            gains.append((candidate, gain))
    # What the services from index i on give together at most, each by the way that gives most on
    # that device: a branch that cannot succeed is cut.
    rest: list[dict[DeviceId, int]] = [dict.fromkeys(short, 0)]
    given: dict[tuple[ServiceId, DeviceId], int] = {}
    for candidate, gain in reversed(gains):
        total = dict(rest[-1])
        for device, amount in gain.items():
            before = given.get((candidate.service, device), 0)
            given[candidate.service, device] = max(before, amount)
            total[device] += max(0, amount - before)
        rest.append(total)
    rest.reverse()
    if any(rest[0][device] < amount for device, amount in short.items()):
        return None

    best: tuple[float, int, tuple[tuple[ServiceId, bool], ...]] | None = None
    chosen: tuple[Candidate, ...] = ()
    visited = 0
    # Depth first, taking before leaving out, so that the first set found is the greedy one.
    stack: list[tuple[int, float, tuple[Candidate, ...], dict[DeviceId, int]]] = [
        (0, 0.0, (), short)
    ]
    while stack:
        index, value, taken, missing = stack.pop()
        visited += 1
        if best is not None:
            if (value, len(taken)) > best[:2]:
                continue
            if visited > NODES_MAX:
                break
        if all(amount <= 0 for amount in missing.values()):
            ways = tuple(sorted((one.service, not one.sleeps) for one in taken))
            rank = (value, len(taken), ways)
            if best is None or rank < best:
                best, chosen = rank, taken
            continue
        if any(amount > rest[index][device] for device, amount in missing.items()):
            continue
        candidate, gain = gains[index]
        stack.append((index + 1, value, taken, missing))
        if any(one.service == candidate.service for one in taken):
            continue
        less = {device: amount - gain.get(device, 0) for device, amount in missing.items()}
        stack.append((index + 1, value + candidate.value, (*taken, candidate), less))
    return tuple(sorted(_needed(chosen, short), key=lambda one: one.service))


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
    needed = []
    for victim in sorted(victims, key=lambda one: (-one.value, one.service)):
        gain = gains[victim.service]
        if spare.fits(gain):
            spare.take(gain)
        else:
            needed.append(victim)
    return needed
