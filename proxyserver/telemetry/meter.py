"""Turns what happens, requests and facts of the core, into numbers."""

from collections.abc import Callable

import attrs

from proxycore import Cause, Changed, Fact, Refuse, RunId, ServiceId, State
from proxyserver.http import RequestRecord
from proxyserver.http._route_names import route_of
from proxyserver.wire import Usage

from . import catalogue as cat
from ._kinds import Kinds, operation
from ._reasons import why_left
from ._recovery import Action, Result, result_of
from ._store import OTHER, Counter, Distribution, Exemplar, Histogram, Values
from .catalogue import CATALOGUE, Kind, Metric
from .starts import Start

METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_ENDED = frozenset((State.DOWN, State.VERIFYING, State.BACKOFF, State.FAILED))
_LIVED = frozenset(State) - _ENDED - {State.RESERVED}
_TRIED_AGAIN = "once more, with more room: "
"""How the core begins to say why a run ended that is started again as a larger one."""


@attrs.frozen(eq=False)
class _OfService:
    """What requests of a kind to a service are added to."""

    asked: Values
    duration: Distribution
    wait: Distribution
    overhead: Distribution
    upstream: Distribution

    def add(self, record: RequestRecord, exemplar: Exemplar | None) -> None:
        waited_s, sent_s = record.waited_s, record.sent_s
        self.duration.add(record.duration_s, exemplar)
        self.wait.add(waited_s, exemplar)
        if sent_s is not None and record.run is not None and not record.retries:
            # A second try begins after what the first one took.
            self.overhead.add(max(0.0, sent_s - waited_s), exemplar)
            self.upstream.add(record.duration_s - sent_s, exemplar)


@attrs.frozen(eq=False)
class _Series:
    http: Distribution
    service: _OfService | None


@attrs.frozen
class _Failed:
    """How a service failed last, and what is done about it."""

    cause: str
    action: Action


CauseOf = Callable[[ServiceId], Cause | None]


class Meter:
    """Counts and measures; its numbers are read by who publishes them.

    Args:
        cause_of: tells why a service that is kept down failed.
        ended_by: tells how the last run of a service ended.
    """

    def __init__(self, cause_of: CauseOf, ended_by: CauseOf) -> None:
        self._cause_of = cause_of
        self._ended_by = ended_by
        self._counters = {
            metric: Counter(metric) for metric in CATALOGUE if metric.kind is Kind.COUNTER
        }
        self._histograms = {
            metric: Histogram(metric) for metric in CATALOGUE if metric.kind is Kind.HISTOGRAM
        }
        self._series = Kinds(self._find)
        self.started_at: dict[ServiceId, float] = {}
        """Since when the present run of a service lives, by the core's time."""
        self._starting: set[ServiceId] = set()
        """Those whose run has not been ready yet."""
        self._failed: dict[ServiceId, _Failed] = {}
        """Those that have not been ready since."""
        self._counted: dict[ServiceId, Cause] = {}
        self._processor: dict[ServiceId, tuple[RunId, float]] = {}
        """The run that was measured last, and its processor time then."""

    @property
    def counters(self) -> tuple[Counter, ...]:
        return tuple(self._counters.values())

    @property
    def histograms(self) -> tuple[Histogram, ...]:
        return tuple(self._histograms.values())

    def count(self, metric: Metric, *values: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self._counters[metric].add(values, amount)

    def observe(self, metric: Metric, value: float, *values: str) -> None:
        """Add a value to a histogram."""
        self._histograms[metric].of(*values).add(value)

    def processor(self, service: ServiceId, run: RunId, total_s: float) -> None:
        """Take note of the processor time that a run has taken since it began."""
        last_run, last_s = self._processor.get(service, (run, total_s))
        if run == last_run:
            # What a process that has ended took is not told any more.
            self.count(cat.RUN_PROCESSOR, service, amount=max(0.0, total_s - last_s))
        self._processor[service] = run, total_s

    # Requests

    def request(self, record: RequestRecord, exemplar: Exemplar | None = None) -> None:
        """Take note of a request that is over; its trace may be kept as an example."""
        series = self._series.of(record)
        duration_s = record.duration_s
        series.http.add(duration_s, exemplar)
        if series.service is not None:
            series.service.add(record, exemplar)
            if record.retries:
                self._note_new_run(ServiceId(series.service.asked[0]), record)
            if record.usage is not None:
                self._tokens(series.service, record, record.usage, exemplar)

    def _note_new_run(self, service: ServiceId, record: RequestRecord) -> None:
        self.count(cat.RETRIES, service, record.outcome.value)
        cause = self._ended_by(service)
        kind = OTHER if cause is None else cause.kind
        self._recovered(service, _Failed(kind, Action.NEW_RUN), result_of(record))

    def _find(self, record: RequestRecord) -> _Series:
        """Return the series to which requests of a kind are added."""
        histograms = self._histograms
        service, path = record.service, record.path
        method = record.method if record.method in METHODS else OTHER
        status = "" if record.status is None else str(record.status)
        http = histograms[cat.HTTP_DURATION].of(method, route_of(path), status)
        if service is None:
            return _Series(http, None)
        asked = (service, record.model or service, operation(path))
        return _Series(
            http,
            _OfService(
                asked,
                histograms[cat.REQUEST_DURATION].of(*asked, record.outcome.value),
                histograms[cat.QUEUE_WAIT].of(service),
                histograms[cat.OVERHEAD_DURATION].of(service),
                histograms[cat.UPSTREAM_DURATION].of(service, status),
            ),
        )

    def _tokens(
        self, of: _OfService, record: RequestRecord, usage: Usage, exemplar: Exemplar | None
    ) -> None:
        histograms, asked = self._histograms, of.asked
        output, first_s = usage.output, record.first_token_s
        if record.streamed and first_s is not None:
            histograms[cat.TIME_TO_FIRST_TOKEN].of(*asked).add(first_s, exemplar)
            if output is not None and output > 1:
                each_s = (record.duration_s - first_s) / (output - 1)
                histograms[cat.TIME_PER_OUTPUT_TOKEN].of(*asked).add(each_s, exemplar)
        tokens = histograms[cat.TOKEN_USAGE]
        if usage.input is not None:
            tokens.of(*asked, "input").add(usage.input, exemplar)
        if output is not None and usage.counted:
            self.count(cat.TOKENS_COUNTED, *asked[:2], amount=output)
        elif output is not None:
            tokens.of(*asked, "output").add(output, exemplar)

    # Facts of the core

    def note(self, fact: Fact, now: float) -> None:
        """Take note of a fact; `now` is the core's time."""
        if isinstance(fact, Refuse):
            self.count(cat.QUEUE_REJECTED, fact.service, fact.reason.value)
        elif isinstance(fact, Changed):
            self._note_change(fact, now)

    def start(self, start: Start) -> None:
        """Take note of how long each phase of a start took."""
        for phase in start.phases:
            self.observe(cat.START_DURATION, phase.duration_s, start.service, phase.name)

    def _note_change(self, changed: Changed, now: float) -> None:
        service, old, new = changed.service, changed.old, changed.new
        if (left := why_left(changed)) is not None:
            self.count(cat.EVICTIONS, service, left.value)
        if old not in _LIVED and new in _LIVED:  # It starts, or is adopted.
            self.started_at[service] = now
        if new is State.STARTING:
            self._starting.add(service)
            if service in self._failed:
                self.count(cat.SERVICE_RESTARTS, service)
        elif old is State.STARTING and new is State.READY:
            self._starting.discard(service)
            self._end_start(service, "ready", Result.HELPED)
            self._failed.pop(service, None)
        elif new is State.FAILED and old in _ENDED:
            self._give_up(service)
        elif old in _LIVED and new in _ENDED:
            self._note_end(changed)

    def _note_end(self, changed: Changed) -> None:
        service = changed.service
        self.started_at.pop(service, None)
        cause = self._new_failure(changed)
        if service in self._starting:
            self._starting.discard(service)
            if cause is None:
                self._end_start(service, "abandoned", Result.ABANDONED)
            else:
                self._end_start(service, "failed", Result.FAILED)
        if cause is not None:
            larger = changed.why.startswith(_TRIED_AGAIN)
            self._failed[service] = _Failed(cause.kind, Action.LARGER if larger else Action.RESTART)
            self.count(cat.FAILURES, service, cause.kind)
            if cause.out_of_memory:
                self.count(cat.OOM, service)
        if changed.new is State.FAILED:
            self._give_up(service)

    def _new_failure(self, changed: Changed) -> Cause | None:
        """Return why the run that has just ended failed; None: it did not."""
        service = changed.service
        if changed.why.startswith(_TRIED_AGAIN):
            return self._ended_by(service)
        cause = self._cause_of(service)
        if cause is None or cause is self._counted.get(service):
            return None  # It has stayed from an earlier failure.
        self._counted[service] = cause
        return cause

    def _end_start(self, service: ServiceId, outcome: str, result: Result) -> None:
        self.count(cat.SERVICE_STARTS, service, outcome)
        if (failed := self._failed.get(service)) is not None:
            self._recovered(service, failed, result)

    def _give_up(self, service: ServiceId) -> None:
        if (failed := self._failed.get(service)) is not None:
            self._recovered(service, _Failed(failed.cause, Action.GIVE_UP), Result.FAILED)

    def _recovered(self, service: ServiceId, failed: _Failed, result: Result) -> None:
        values = (service, failed.cause, failed.action.value, result.value)
        self.count(cat.RECOVERIES, *values)
