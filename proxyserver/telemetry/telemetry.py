"""All numbers of the daemon, in one hand: what was counted, and what is so now."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import trio

from proxycore import Cause, Changed, CoreView, Fact, RunId, ServiceId
from proxyserver.http import RequestRecord
from proxyserver.http._trace import Trace
from proxyserver.milestones import Milestones
from proxyserver.wire import RequestHead

from . import catalogue as cat
from ._now import Measured, Reading, readings
from ._store import Exemplar
from .meter import CauseOf, Meter
from .outputs import Lines, Outputs
from .prometheus import exposed
from .starts import Starts
from .usage import Collector, Told, UsageStore

if TYPE_CHECKING:
    from .otlp import Exporter


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
        self._is_there = lambda run: milestones(run).placed_at is not None
        self._exporter: Exporter | None = None
        self._outputs: Outputs | None = None
        self._usage: Collector | None = None

    def note(self, fact: Fact) -> None:
        """Take note of what the core did."""
        now = trio.current_time()
        self._meter.note(fact, now)
        if self._usage is not None and isinstance(fact, Changed):
            self._usage.changed(fact)
        if isinstance(fact, Changed) and (start := self._starts.note(fact, now)) is not None:
            self._meter.start(start)
            if self._usage is not None:
                self._usage.start(start)
            if self._exporter is not None:
                self._exporter.start(start, fact.why)
        if isinstance(fact, Changed) and self._outputs is not None:
            self._outputs.note(fact)

    def processor(self, service: ServiceId, run: RunId, total_s: float) -> None:
        """Take note of the processor time that a run has taken since it began."""
        self._meter.processor(service, run, total_s)

    def pulled(self, service: ServiceId, from_at: float, to_at: float) -> None:
        """Take note of a pull that was waited for."""
        self._starts.pulled(service, from_at, to_at)

    def request(self, record: RequestRecord) -> None:
        """Take note of a request that is over."""
        if self._usage is not None:
            self._usage.request(record)
        trace = record.trace
        if self._exporter is None or trace is None or not trace.sampled:
            self._meter.request(record)
            return
        self._exporter.request(record)
        example = Exemplar(f"{trace.id:032x}", f"{trace.span:016x}", record.duration_s, time.time())
        self._meter.request(record, example)

    def keep_usage(self, store: UsageStore) -> None:
        """Keep statistics of use, too."""
        self._usage = Collector(store, self._view, self._measured)
        self._usage.open()

    async def usage(self, by: str, first: str, last: str) -> list[Told] | None:
        """Return what was used from one day to another; None: that is not kept.

        Raises:
            OSError: it cannot be read.
        """
        return None if self._usage is None else await self._usage.sums(by, first, last)

    def connect(self, environ: Mapping[str, str]) -> None:
        """Send all to the collectors that the environment names, if it names any.

        Args:
            environ: the variables of OpenTelemetry.
        """
        if any(name.startswith("OTEL_EXPORTER_OTLP_") for name in environ):
            # Its messages take 0.1 s to import, which nobody pays for who has no collector.
            from .otlp import Exporter

            self._exporter = Exporter(environ, self._version, self._meter, self._readings)

    def follow_outputs(self, lines: Lines, wanted: Callable[[ServiceId], bool]) -> None:
        """Send what services write to their output, if a collector takes log lines.

        Args:
            lines: who has them.
            wanted: tells whether those of a service are wanted now.
        """
        if self._exporter is not None and self._exporter.takes_output:
            self._outputs = Outputs(lines, self._is_there, wanted, self._exporter)

    def settle(self) -> None:
        """Go by another configuration."""
        if self._outputs is not None:
            self._outputs.settle()

    @property
    def takes_output(self) -> bool:
        """Whether a collector takes what services write."""
        return self._outputs is not None

    @property
    def begin_trace(self) -> Callable[[RequestHead], Trace] | None:
        """Return what gives each request its place in a trace; None: there are none."""
        return None if self._exporter is None else self._exporter.begin

    async def run(self) -> None:
        """Send to collectors, and write down what was used, until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in (self._exporter, self._outputs, self._usage):
                if one is not None:
                    nursery.start_soon(one.run)

    async def close(self) -> None:
        """Write down what is left, and send it, which takes two seconds at most."""
        if self._usage is not None:
            await self._usage.close()
        if self._exporter is not None:
            await self._exporter.close()

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers in the format that a client accepts, and that format's media type."""
        meter = self._meter
        return exposed(meter.counters, meter.histograms, self._readings(), accept)

    def _cause_of(self, service: ServiceId) -> Cause | None:
        # One that was taken out of the configuration is not in the picture any more.
        return next((one.cause for one in self._view().services if one.id == service), None)

    def _readings(self) -> Iterator[Reading]:
        yield cat.BUILD_INFO, (self._version,), 1.0
        view, now = self._view(), trio.current_time()
        yield from readings(view, self._measured, self._meter.started_at, now)
