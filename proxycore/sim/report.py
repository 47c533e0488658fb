"""What a simulation took: starts, waits, idle memory, fairness."""

from collections.abc import Mapping, Sequence

import attrs

from .._ids import ServiceId, TicketId
from ..config import CoreConfig, Placement

GB_HOUR = 10**9 * 3600.0


@attrs.frozen(kw_only=True)
class Report:
    """The figures of one simulation."""

    requests: int
    starts: int
    load_s: float
    """The load times of all starts together."""
    cold_ratio: float
    """The share of requests whose service was not ready when they came."""
    wait_mean_s: float
    wait_p95_s: float
    wait_max_s: float
    wait_max_by_service_s: Mapping[ServiceId, float]
    """The longest wait for each service that anybody was admitted to."""
    idle_gb_hours: float
    """Memory held by runs that were ready and served nobody."""
    fairness: float
    """Jain's index over the services, of the share of its time that a request is served rather
    than waits: 1 when all services fare alike, 1/n when one gets everything."""
    refused: int


@attrs.define
class _Waiter:
    service: ServiceId
    arrived_at: float
    admitted_at: float | None = None


@attrs.define
class _Usage:
    """What is known of one service."""

    size: int = 0
    in_flight: int = 0
    idle_since: float | None = None
    """Set while it is ready and serves nobody."""
    is_ready: bool = False
    waited_s: float = 0.0
    wait_max_s: float | None = None
    served_s: float = 0.0


class Tally:
    """Counts along; the simulation tells it what happens, in the order of time."""

    def __init__(self, config: CoreConfig, now: float) -> None:
        self._usage = {spec.id: _Usage() for spec in config.services}
        self._load_s = {spec.id: spec.load_s for spec in config.services}
        self._waiters: dict[TicketId, _Waiter] = {}
        self._waits: list[float] = []
        self._starts: list[ServiceId] = []
        self._cold = 0
        self._refused = 0
        self._idle_byte_s = 0.0

    def arrived(self, ticket: TicketId, service: ServiceId, now: float) -> None:
        self._waiters[ticket] = _Waiter(service, now)
        self._cold += not self._usage[service].is_ready

    def admitted(self, ticket: TicketId, now: float) -> None:
        waiter = self._waiters[ticket]
        usage = self._usage[waiter.service]
        self._rouse(usage, now)
        usage.in_flight += 1
        waiter.admitted_at = now
        wait_s = now - waiter.arrived_at
        self._waits.append(wait_s)
        usage.waited_s += wait_s
        usage.wait_max_s = max(wait_s, usage.wait_max_s or 0.0)

    def finished(self, ticket: TicketId, now: float) -> None:
        waiter = self._waiters.pop(ticket)
        if waiter.admitted_at is None:
            return
        usage = self._usage[waiter.service]
        usage.served_s += now - waiter.admitted_at
        usage.in_flight -= 1
        if not usage.in_flight and usage.is_ready:
            usage.idle_since = now

    def refused(self, ticket: TicketId, now: float) -> None:
        waiter = self._waiters.pop(ticket)
        self._usage[waiter.service].waited_s += now - waiter.arrived_at
        self._refused += 1

    def started(self, service: ServiceId, placement: Placement) -> None:
        self._starts.append(service)
        self._usage[service].size = sum(amount for _, amount in placement.amounts)

    def ready(self, service: ServiceId, now: float) -> None:
        usage = self._usage[service]
        usage.is_ready, usage.idle_since = True, now

    def stopped(self, service: ServiceId, now: float) -> None:
        usage = self._usage[service]
        self._rouse(usage, now)
        usage.is_ready = False

    def report(self, now: float) -> Report:
        for usage in self._usage.values():
            self._rouse(usage, now)
        waits = sorted(self._waits)
        return Report(
            requests=len(waits) + self._refused,
            starts=len(self._starts),
            load_s=sum(self._load_s[service] for service in self._starts),
            cold_ratio=self._cold / max(1, len(waits) + self._refused),
            wait_mean_s=sum(waits) / max(1, len(waits)),
            wait_p95_s=quantile(waits, 0.95),
            wait_max_s=waits[-1] if waits else 0.0,
            wait_max_by_service_s={
                service: usage.wait_max_s
                for service, usage in self._usage.items()
                if usage.wait_max_s is not None
            },
            idle_gb_hours=self._idle_byte_s / GB_HOUR,
            fairness=jain([_served_share(usage) for usage in self._usage.values() if _met(usage)]),
            refused=self._refused,
        )

    def _rouse(self, usage: _Usage, now: float) -> None:
        if usage.idle_since is not None:
            self._idle_byte_s += (now - usage.idle_since) * usage.size
            usage.idle_since = None


def _met(usage: _Usage) -> bool:
    return usage.waited_s + usage.served_s > 0


def _served_share(usage: _Usage) -> float:
    return usage.served_s / (usage.waited_s + usage.served_s)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least of the values, in order, that is not below so many of them.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def jain(shares: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 when all are equal, 1/n when one has everything.

    >>> jain([3.0, 3.0]), jain([1.0, 0.0])
    (1.0, 0.5)
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
