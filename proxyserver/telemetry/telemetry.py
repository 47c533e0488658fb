"""All numbers of the daemon, in one hand: what was counted, and what is so now."""

from collections.abc import Callable, Iterator

import trio

from proxycore import Cause, Changed, CoreView, Fact, RunId, ServiceId
from proxyserver.http import RequestRecord
from proxyserver.milestones import Milestones

from . import catalogue as cat
from ._now import Measured, Reading, readings
from .meter import CauseOf, Meter
from .prometheus import exposed
from .starts import Starts


class Telemetry:
    """Counts what happens, and shows it to those who ask.

    Args:
        view: tells how the core sees everything.
        measured: who knows the memory.
        ended_by: tells how the last run of a service ended.
        milestones: tells how far a run has come.
        version: ours.
    """

    def __init__(
        self,
        view: Callable[[], CoreView],
        measured: Measured,
        ended_by: CauseOf,
        milestones: Callable[[RunId], Milestones],
        version: str,
    ) -> None:
        self._view = view
        self._measured = measured
        self._version = version
        self._meter = Meter(self._cause_of, ended_by)
        self._starts = Starts(milestones)

    def note(self, fact: Fact) -> None:
        """Take note of what the core did."""
        now = trio.current_time()
        self._meter.note(fact, now)
        if isinstance(fact, Changed) and (start := self._starts.note(fact, now)) is not None:
            self._meter.start(start)

    def pulled(self, service: ServiceId, from_at: float, to_at: float) -> None:
        """Take note of a pull that was waited for."""
        self._starts.pulled(service, from_at, to_at)

    def request(self, record: RequestRecord) -> None:
        """Take note of a request that is over."""
        self._meter.request(record)

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers in the format that a client accepts, and that format's media type."""
        meter = self._meter
        return exposed(meter.counters, meter.histograms, self._readings(), accept)

    def _cause_of(self, service: ServiceId) -> Cause | None:
        return self._view().service(service).cause

    def _readings(self) -> Iterator[Reading]:
        yield cat.BUILD_INFO, (self._version,), 1.0
        view, now = self._view(), trio.current_time()
        yield from readings(view, self._measured, self._meter.started_at, now)
