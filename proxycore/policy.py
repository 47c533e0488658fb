"""Eviction policies: they put a value on what could be stopped, and decide nothing else.

The core takes the cheapest set that makes room (`Room`, `cheapest_victims`), so a bad policy makes
a slow proxy, never an unsafe one.  A policy remembers nothing: all that it may go by is in `Idle`,
so that a journal replays to the same decisions from any of its heads.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeGuard

import attrs

from ._ids import ServiceId
from .config import GIB, Placement

STEEP = 24
"""An order as a power: who is 3 % further down the order costs half as much, so that the cheapest
set is the one that the order alone would take.  Ages from 1 ms to years fit into a float."""
AGE_MIN_S = 1e-3
SETTLE_S = 120.0
"""Within two minutes all have rested about equally long: people think between two requests."""
DEMAND_EXPONENT = 0.4
"""Guesses of demand are noisy: who seems twice as busy is kept at 1.3 times the price."""
SIZE_EXPONENT = 0.25
"""A run of 16 times the size is kept at half the price."""
VALUE_MAX = 1e300
"""Thousands of these can still be summed up."""


@attrs.frozen
class Idle:
    """An idle run as a policy sees it."""

    service: ServiceId
    placement: Placement
    """What it would free by leaving: all that it claims by being stopped, less than that by
    sleeping."""
    load_s: float
    """What it would take to bring it back: to load it, or to wake it if it would only sleep."""
    requests: float
    """Requests so far, each halved for every half hour since."""
    idle_s: float
    rent: float = 0.0
    """What each byte was charged since the last request, in seconds of loading: whenever room is
    made, everybody pays as much for a byte as the dearest who left still had for his."""

    @property
    def bytes(self) -> int:
        """What it would free, on all devices together."""
        return sum(amount for _, amount in self.placement.amounts)


class EvictionPolicy(Protocol):
    """Puts a value on keeping a run."""

    @property
    def name(self) -> str:
        """How settings and journals call it."""

    def value(self, run: Idle) -> float:
        """Return what it would cost to let this run leave, in any unit, 0 or more."""


@attrs.frozen
class CostRate:
    """Load time x demand, a little less for the large: what stopping it is likely to bring back.

    Demand joins two guesses that fail at different times: the decayed count of requests is slow to
    see that a service is over, and the time since the last one forgets how busy it was.  The exact
    search over sets knows what room is wanted now; that a large one leaves room for the next as
    well, it does not.  How that does on public traces, also on such as it was not tuned on:
    docs/reference/policies.md.
    """

    name: str = "cost_rate"

    def value(self, run: Idle) -> float:
        demand = run.requests / (1.0 + run.idle_s / SETTLE_S)
        size_gib = max(1.0, run.bytes / GIB)
        return float(run.load_s * demand**DEMAND_EXPONENT / size_gib**SIZE_EXPONENT)


@attrs.frozen
class Landlord:
    """Load time, less the rent paid since the last request: nothing to tune, and a proven bound.

    Greedy-dual with size and cost: Young, On-line file caching, Algorithmica 33 (2002).
    """

    name: str = "landlord"

    def value(self, run: Idle) -> float:
        return max(0.0, run.load_s - run.rent * run.bytes)


@attrs.frozen
class Lru:
    """Who served longest ago leaves first, whatever it costs to bring back."""

    name: str = "lru"

    def value(self, run: Idle) -> float:
        return float(max(run.idle_s, AGE_MIN_S) ** -STEEP)


@attrs.frozen
class Lfu:
    """Who was asked for least, of late, leaves first."""

    name: str = "lfu"

    def value(self, run: Idle) -> float:
        return run.requests


@attrs.frozen
class LargestFirst:
    """As few leave as can be: the largest."""

    name: str = "largest_first"

    def value(self, run: Idle) -> float:
        return 1.0 / max(1, run.bytes)


DEFAULT: EvictionPolicy = CostRate()
POLICIES: Mapping[str, EvictionPolicy] = MappingProxyType(
    {policy.name: policy for policy in (DEFAULT, Landlord(), Lru(), Lfu(), LargestFirst())}
)
"""The shipped policies by name, the default first."""


def safe_values(policy: EvictionPolicy, runs: Sequence[Idle]) -> tuple[float, ...]:
    """Return the policy's values; where it fails or says nonsense on one, the default's for all.

    One decision is never made by two policies: their values have different units.
    """
    try:
        values: tuple[object, ...] = tuple(policy.value(run) for run in runs)
    except Exception:
        # A policy may be anybody's: what it raises must not end the proxy.
        values = ()
    good = tuple(float(value) for value in values if is_value(value))
    return good if len(good) == len(runs) else tuple(DEFAULT.value(run) for run in runs)


def is_value(value: object) -> TypeGuard[float]:
    """Tell whether a policy may say that: a number from 0 to `VALUE_MAX`."""
    return isinstance(value, int | float) and 0 <= value <= VALUE_MAX
