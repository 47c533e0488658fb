"""Asks the gauges again and again: often while something starts or stops, seldom at rest."""

from collections.abc import Mapping, Sequence

import attrs
import trio
from loguru import logger

from proxycore import Changed, DeviceId, Fact, ServiceId, State

from ._protocol import Fault, Gauge, GaugeFault, Measurement
from ._report import Report

SLOW_S = 5.0
SETTLE_S = 5.0
"""So long after the last change memory may still come and go: drivers give it back late."""
MEASURE_S = 5.0
"""A gauge that takes longer is in trouble."""
STALE_S = 3 * SLOW_S
"""Figures older than this say nothing about now."""
_RESTING = frozenset((State.DOWN, State.READY, State.ASLEEP, State.BACKOFF, State.FAILED))


@attrs.frozen
class Health:
    """Whether a gauge works; if not, the message says why."""

    ok: bool
    message: str


class Gauges:
    """Knows the last measurement of every device, and how old it is.

    A failing gauge keeps what it measured last: `measurement` gives it until it is stale, so
    nobody trusts an old figure by accident; `last` gives it to people, who are told its age.

    Args:
        gauges: what is asked.
        report: who tells the core what was measured; None: it is not told.
    """

    def __init__(self, gauges: Sequence[Gauge], report: Report | None = None) -> None:
        self._gauges = gauges
        self._report = report
        self._health = {gauge.name: Health(False, "not asked yet") for gauge in gauges}
        self._last: dict[DeviceId, Measurement] = {}
        self._moving: set[ServiceId] = set()
        self._lively_until = trio.current_time() + SETTLE_S
        self._stirred = trio.Event()
        self._urgent = trio.Event()

    async def run(self) -> None:
        """Measure until cancelled."""
        async with trio.open_nursery() as nursery:
            for gauge in self._gauges:
                nursery.start_soon(self._poll, gauge)

    def note(self, fact: Fact) -> None:
        """Hear what the core does: while a service starts or stops, measure often."""
        if not isinstance(fact, Changed):
            return
        if fact.new in _RESTING:
            self._moving.discard(fact.service)
        else:
            self._moving.add(fact.service)
        self.stir()

    def stir(self) -> None:
        """Measure soon, and often for a while."""
        self._lively_until = trio.current_time() + SETTLE_S
        self._stirred.set()
        self._stirred = trio.Event()

    def measure_now(self) -> None:
        """Measure at once, and often for a while: somebody waits for memory to come back."""
        self._urgent.set()
        self._urgent = trio.Event()
        self.stir()

    def health(self) -> Mapping[str, Health]:
        """Tell of each gauge whether it works."""
        return dict(self._health)

    def last(self, device: DeviceId) -> Measurement | None:
        """Return the last measurement, however old; None: it was never measured."""
        return self._last.get(device)

    def measurement(self, device: DeviceId) -> Measurement | None:
        """Return the last measurement; None: there is none that still tells something."""
        last = self._last.get(device)
        return None if last is None or is_stale(last) else last

    @property
    def _lively(self) -> bool:
        return bool(self._moving) or trio.current_time() < self._lively_until

    async def _poll(self, gauge: Gauge) -> None:
        while True:
            before, health = self._health[gauge.name], await self._measure(gauge)
            if health != before:
                # A machine that never had a GPU is nothing to be warned of.
                lost = before.ok and not health.ok
                logger.log("WARNING" if lost else "INFO", "{}: {}", gauge.name, health.message)
            self._health[gauge.name] = health
            self._tell_stale()
            if not health.ok:
                # Asked more often it would say the same, and a driver may be slow to say it.
                await trio.sleep(SLOW_S)
                continue
            with trio.move_on_after(gauge.fast_s):
                await self._urgent.wait()
            if not self._lively:
                with trio.move_on_after(SLOW_S - gauge.fast_s):
                    await self._stirred.wait()

    def _tell_stale(self) -> None:
        for last in self._last.values():
            if self._report is not None and is_stale(last):
                self._report.unknown(last.device)

    async def _measure(self, gauge: Gauge) -> Health:
        results: Sequence[Measurement | Fault] = ()
        with trio.move_on_after(MEASURE_S) as scope:
            try:
                results = await gauge.measure()
            except GaugeFault as fault:
                return Health(False, str(fault))
        if scope.cancelled_caught:
            return Health(False, f"no answer within {MEASURE_S:g} s")
        faults = []
        for result in results:
            if isinstance(result, Fault):
                faults.append(f"{result.device}: {result.message}")
            else:
                self._last[result.device] = result
                if self._report is not None:
                    self._report.measured(result, lively=self._lively)
        return Health(False, "; ".join(faults)) if faults else Health(True, gauge.message)


def is_stale(measurement: Measurement) -> bool:
    """Tell whether a measurement is too old to be trusted."""
    return trio.current_time() - measurement.at > STALE_S
