"""The least that all loads can cost for who knows the future: what policies are measured by.

Pure caching: requests come in order and nothing takes time, each start costs its load time, and
memory holds what fits.  The optimum is found exactly by going through the requests with all sets
of services that an optimal plan may hold, each with its least cost so far.  Nobody leaves before
somebody needs the room, and then no more than must.  A set is dropped when another one could turn
into it by paying the loads that it lacks: from there, that one is never worse off.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from .._errors import LocalError
from .._ids import ServiceId
from ..config import CoreConfig
from .traffic import Traffic

STATES_MAX = 200_000
"""Beyond, the search gives up; 14 services of the catalogue in 48 GB need some hundreds."""


def least_load_s(traffic: Traffic) -> float:
    """Return the least sum of load times that serves all requests.

    Raises:
        LocalError: a service may be placed in several ways, does not fit at all, or the instance
            is too large to be solved.
    """
    instance = _Instance(traffic.config)
    # Bit sets of services, each with the least cost to hold it after the last request.
    costs: dict[int, float] = {0: 0.0}
    for service, _ in groupby(request.service for request in traffic.requests):
        costs = instance.serve(service, costs)
        if len(costs) > STATES_MAX:
            raise LocalError(f"more than {STATES_MAX} sets to look at: no bound")
    return min(costs.values())


class _Instance:
    def __init__(self, config: CoreConfig) -> None:
        self._load_s: list[float] = []
        self._sizes: list[Mapping[str, int]] = []
        self._bits: dict[ServiceId, int] = {}
        self._usable: dict[str, int] = {device.id: device.usable for device in config.devices}
        self._made_room: dict[tuple[int, int], tuple[int, ...]] = {}
        self._worth: dict[int, float] = {}
        for index, spec in enumerate(config.services):
            if len(spec.placements) != 1:
                raise LocalError(f"{spec.id} may be placed in several ways: no bound is known")
            self._load_s.append(spec.load_s)
            self._sizes.append(dict(spec.placements[0].amounts))
            self._bits[spec.id] = index
            if not self._fits(1 << index):
                raise LocalError(f"{spec.id} claims more than there is")

    def serve(self, service: ServiceId, costs: Mapping[int, float]) -> dict[int, float]:
        """Return the sets that may be held once a request for the service is served."""
        index = self._bits[service]
        bit, load_s = 1 << index, self._load_s[index]
        after: dict[int, float] = {}
        for held, cost in costs.items():
            if held & bit:
                if cost < after.get(held, cost + 1.0):
                    after[held] = cost
                continue
            for kept in self._room_for(held, index):
                if cost + load_s < after.get(kept, cost + load_s + 1.0):
                    after[kept] = cost + load_s
        return self._undominated(after)

    def _undominated(self, costs: Mapping[int, float]) -> dict[int, float]:
        """Drop the sets that the cheapest one could turn into by paying what it lacks."""
        best = min(costs, key=lambda held: (costs[held], held))
        least = costs[best]
        return {
            held: cost
            for held, cost in costs.items()
            if held == best or cost < least + self._value(held & ~best)
        }

    def _room_for(self, held: int, index: int) -> tuple[int, ...]:
        """Return what may be held with a service, when as few leave as must."""
        key = held, index
        if key not in self._made_room:
            self._made_room[key] = tuple(self._fullest(held, 1 << index))
        return self._made_room[key]

    def _fullest(self, held: int, bit: int) -> Iterator[int]:
        """Yield every part of a set that fits beside a service, and to which nothing can return."""
        if self._fits(held | bit):
            yield held | bit
            return
        part = held
        while True:
            if self._fits(part | bit) and not any(
                self._fits(part | bit | one) for one in _ones(held & ~part)
            ):
                yield part | bit
            if not part:
                return
            part = (part - 1) & held

    def _fits(self, held: int) -> bool:
        used = dict.fromkeys(self._usable, 0)
        for index, sizes in enumerate(self._sizes):
            if held >> index & 1:
                for device, amount in sizes.items():
                    used[device] += amount
        return all(amount <= self._usable[device] for device, amount in used.items())

    def _value(self, held: int) -> float:
        """Return what it costs to load a set."""
        if held not in self._worth:
            self._worth[held] = sum(
                load_s for index, load_s in enumerate(self._load_s) if held >> index & 1
            )
        return self._worth[held]


def _ones(held: int) -> Iterable[int]:
    while held:
        one = held & -held
        yield one
        held ^= one
