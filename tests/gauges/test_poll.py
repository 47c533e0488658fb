"""How often gauges are asked, and what is known when they fail."""

from collections.abc import Callable, Sequence

import attrs
import pytest
import trio
import trio.testing

from proxycore import Changed, DeviceId, RunId, ServiceId, State
from proxyserver.gauges import SLOW_S, STALE_S, Fault, GaugeFault, Gauges, Health, Measurement
from proxyserver.gauges._poll import MEASURE_S, SETTLE_S

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
FAST_S = 0.25
RESTING = (State.DOWN, State.READY, State.ASLEEP, State.BACKOFF, State.FAILED)


@attrs.define
class ScriptedGauge:
    """Answers as the test says, and remembers when it was asked."""

    says: Callable[[], Sequence[Measurement | Fault]]
    name: str = "gpu"
    fast_s: float = FAST_S
    message: str = "two of them"
    takes_s: float = 0.0
    asked_at: list[float] = attrs.field(factory=list)

    async def measure(self) -> Sequence[Measurement | Fault]:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self.takes_s)
        return self.says()

    def count(self, since: float) -> int:
        return sum(at >= since for at in self.asked_at)


def well() -> Sequence[Measurement | Fault]:
    return [Measurement(GPU0, 100, 60, {}, trio.current_time())]


def changed(new: State) -> Changed:
    return Changed(ServiceId("a"), RunId(1), State.DOWN, new, "")


@pytest.fixture
def gauge() -> ScriptedGauge:
    return ScriptedGauge(well)


async def test_asks_seldom_at_rest(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Once all has settled, a gauge is asked every `SLOW_S`."""
    nursery.start_soon(Gauges([gauge]).run)
    await trio.sleep(SETTLE_S + SLOW_S)
    since = trio.current_time()
    await trio.sleep(10 * SLOW_S)
    assert gauge.count(since) in (10, 11)


@pytest.mark.parametrize(
    "state",
    [state for state in State if state not in RESTING],
)
async def test_asks_often_while_something_moves(
    state: State,
    gauge: ScriptedGauge,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From the first moment of a change until a while after the last one."""
    gauges = Gauges([gauge])
    nursery.start_soon(gauges.run)
    await trio.sleep(SETTLE_S + 2 * SLOW_S + 1.1)
    since = trio.current_time()
    gauges.note(changed(state))
    await trio.sleep(FAST_S / 2)
    assert gauge.count(since) == 1
    await trio.sleep(10 * SETTLE_S)
    assert gauge.count(since) == pytest.approx(10 * SETTLE_S / FAST_S, abs=2)
    gauges.note(changed(State.READY))
    since = trio.current_time()
    await trio.sleep(SETTLE_S)
    assert gauge.count(since) == pytest.approx(SETTLE_S / FAST_S, abs=2)
    await trio.sleep(SLOW_S)
    since = trio.current_time()
    await trio.sleep(4 * SLOW_S)
    assert gauge.count(since) in (4, 5)


async def test_changes_do_not_flood_a_gauge(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """However much changes, a gauge is never asked more often than it may be."""
    gauges = Gauges([gauge])
    nursery.start_soon(gauges.run)
    for _ in range(1000):
        gauges.note(changed(State.STARTING))
        await trio.sleep(0.01)
    pauses = [b - a for a, b in zip(gauge.asked_at, gauge.asked_at[1:], strict=False)]
    assert min(pauses) >= FAST_S - 1e-6


async def test_a_failing_gauge_ages(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The reason is told at once; the last figures are trusted until they are stale, then shown."""
    gauges = Gauges([gauge])
    assert gauges.health() == {"gpu": Health(False, "not asked yet")}
    assert (gauges.last(GPU0), gauges.measurement(GPU0)) == (None, None)
    nursery.start_soon(gauges.run)
    await trio.sleep(1.1)
    assert gauges.health() == {"gpu": Health(True, "two of them")}
    measured = gauges.measurement(GPU0)
    assert measured is not None

    def fail() -> Sequence[Measurement | Fault]:
        raise GaugeFault("the driver is gone")

    gauge.says = fail
    await trio.sleep(1)
    assert gauges.health() == {"gpu": Health(False, "the driver is gone")}
    last = gauges.last(GPU0)
    assert last is not None
    assert gauges.measurement(GPU0) == last
    await trio.sleep(last.at + STALE_S - 0.01 - trio.current_time())
    assert gauges.measurement(GPU0) == last
    await trio.sleep(0.02)
    assert gauges.measurement(GPU0) is None
    assert gauges.last(GPU0) == last
    gauge.says = well
    await trio.sleep(SLOW_S)
    assert gauges.health() == {"gpu": Health(True, "two of them")}
    assert gauges.measurement(GPU0) is not None


async def test_a_failing_gauge_is_not_pressed(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A gauge that does not work is asked seldom, whatever starts and stops meanwhile."""

    def fail() -> Sequence[Measurement | Fault]:
        raise GaugeFault("no driver")

    gauge.says = fail
    gauges = Gauges([gauge])
    nursery.start_soon(gauges.run)
    for _ in range(100):
        gauges.note(changed(State.STARTING))
        await trio.sleep(SLOW_S / 10)
    assert len(gauge.asked_at) in (10, 11)


async def test_a_hanging_gauge_is_left(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """No answer is an answer too, and other gauges are not held up."""
    gauge.takes_s = 1e6
    other = ScriptedGauge(lambda: [Measurement(GPU1, 2, 1, {}, trio.current_time())], name="ram")
    gauges = Gauges([gauge, other])
    nursery.start_soon(gauges.run)
    await trio.sleep(MEASURE_S + 0.1)
    assert gauges.health() == {
        "gpu": Health(False, "no answer within 5 s"),
        "ram": Health(True, "two of them"),
    }
    assert gauges.measurement(GPU1) is not None
    gauge.takes_s = 0.0
    await trio.sleep(SLOW_S)
    assert gauges.measurement(GPU0) is not None


async def test_faults_of_single_devices(
    gauge: ScriptedGauge, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """They are told together, and do not hide the other devices."""
    gauge.says = lambda: [Fault(GPU1, "lost"), *well(), Fault(DeviceId("gpu2"), "lost too")]
    gauges = Gauges([gauge])
    nursery.start_soon(gauges.run)
    await trio.sleep(1)
    assert gauges.health() == {"gpu": Health(False, "gpu1: lost; gpu2: lost too")}
    assert gauges.measurement(GPU0) is not None
    assert gauges.measurement(GPU1) is None
