"""Eviction policies: they put a value on what could be stopped, and decide nothing else.

The core takes the cheapest set that makes room (`Room`, `cheapest_victims`), so a bad policy makes
a slow proxy, never an unsafe one.
"""

import math
from typing import Protocol

import attrs

from ._ids import ServiceId
from .config import Placement


@attrs.frozen
class Idle:
    """An idle run as a policy sees it."""

    service: ServiceId
    placement: Placement
    load_s: float
    """What it would take to bring it back."""
    requests: float
    """Requests so far, each halved for every half hour since."""
    idle_s: float


class EvictionPolicy(Protocol):
    """Puts a value on keeping a run."""

    @property
    def name(self) -> str:
        """How settings and journals call it."""

    def value(self, run: Idle) -> float:
        """Return what stopping this run would cost, in any unit, 0 or more."""


@attrs.frozen
class CostRate:
    """Load time x demand: seconds of loading that stopping it is likely to bring back.

    The greedy-dual family's cost over frequency, without size: the core's exact search over sets
    takes care of size.  On public traces 1.29 to 1.45 times the offline optimum, where recency
    alone took 1.78 to 1.93 (docs/architecture.md, "Victims").
    """

    name: str = "cost_rate"

    def value(self, run: Idle) -> float:
        return run.load_s * run.requests


def safe_value(policy: EvictionPolicy, run: Idle) -> float:
    """Return the policy's value, tamed: what is not a number from 0 up counts as 0."""
    value = policy.value(run)
    return value if math.isfinite(value) and value > 0 else 0.0
