"""All numbers of the daemon, in one hand: what was counted, and what is so now."""

from collections.abc import Callable, Iterator

import trio

from proxycore import Cause, CoreView, Fact, ServiceId
from proxyserver.http import RequestRecord

from . import catalogue as cat
from ._now import Measured, Reading, readings
from .meter import CauseOf, Meter
from .prometheus import exposed


class Telemetry:
    """Counts what happens, and shows it to those who ask.

    Args:
        view: tells how the core sees everything.
        measured: who knows the memory.
        ended_by: tells how the last run of a service ended.
        version: ours.
    """

    def __init__(
        self,
        view: Callable[[], CoreView],
        measured: Measured,
        ended_by: CauseOf,
        version: str,
    ) -> None:
        self._view = view
        self._measured = measured
        self._version = version
        self._meter = Meter(self._cause_of, ended_by)

    def note(self, fact: Fact) -> None:
        """Take note of what the core did."""
        self._meter.note(fact, trio.current_time())

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
