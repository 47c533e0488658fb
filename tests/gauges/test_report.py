"""The core hears of memory what matters, and what cannot be trusted any more."""

import pytest

from proxycore import DeviceId, MemoryMeasured, MemoryUnknown, RunId
from proxycore.config import GIB, MIB
from proxyserver.gauges import Measurement, Report

GPU = DeviceId("gpu0")
RUN = RunId(7)


def measurement(free: int, **by_run: int) -> Measurement:
    runs = {RunId(int(run[1:])): amount for run, amount in by_run.items()}
    return Measurement(GPU, 24 * GIB, free, runs, at=0.0)


def told(free: int, **by_run: int) -> MemoryMeasured:
    runs = tuple((RunId(int(run[1:])), amount) for run, amount in by_run.items())
    return MemoryMeasured(GPU, 24 * GIB, free, runs)


@pytest.fixture
def heard() -> list[object]:
    return []


@pytest.fixture
def report(heard: list[object]) -> Report:
    report = Report({GPU: GIB}, heard.append)
    report.measured(measurement(20 * GIB, r7=3 * GIB), lively=False)
    heard.clear()
    return report


@pytest.mark.parametrize(
    ("free", "by_run"),
    [
        (20 * GIB - 130 * MIB, {"r7": 3 * GIB}),
        (20 * GIB, {"r7": 4 * GIB}),
        (20 * GIB, {}),
        (20 * GIB, {"r7": 3 * GIB, "r8": 1}),
        (GIB - 1, {"r7": 3 * GIB}),
    ],
    ids=["free", "a run", "a run less", "a run more", "below the headroom"],
)
def test_changes_are_told(
    report: Report, heard: list[object], free: int, by_run: dict[str, int]
) -> None:
    """Whatever might change a decision."""
    report.measured(measurement(free, **by_run), lively=False)
    assert heard == [told(free, **by_run)]


def test_trifles_are_not_told_at_rest(report: Report, heard: list[object]) -> None:
    """A journal of trifles would push out what matters; while something moves, all counts."""
    trifle = measurement(20 * GIB - MIB, r7=3 * GIB + MIB)
    report.measured(trifle, lively=False)
    assert heard == []
    report.measured(trifle, lively=True)
    report.measured(trifle, lively=True)
    assert heard == [told(20 * GIB - MIB, r7=3 * GIB + MIB)]


def test_a_step_across_the_headroom_is_told_however_small(
    report: Report, heard: list[object]
) -> None:
    """For the core, that is when it begins to count the seconds."""
    report.measured(measurement(GIB, r7=3 * GIB), lively=False)
    report.measured(measurement(GIB - 1, r7=3 * GIB), lively=False)
    assert heard[1:] == [told(GIB - 1, r7=3 * GIB)]


def test_a_loss_is_told_once(report: Report, heard: list[object]) -> None:
    """And the next figures after it are told, even if they are the old ones."""
    report.unknown(GPU)
    report.unknown(GPU)
    assert heard == [MemoryUnknown((GPU,))]
    report.measured(measurement(20 * GIB, r7=3 * GIB), lively=False)
    assert heard[1:] == [told(20 * GIB, r7=3 * GIB)]


def test_devices_that_are_not_configured_are_nothing_to_the_core(
    report: Report, heard: list[object]
) -> None:
    """It refuses to hear of them."""
    report.measured(Measurement(DeviceId("gpu9"), 2, 1, {}, at=0.0), lively=True)
    report.unknown(DeviceId("gpu9"))
    assert heard == []


def test_devices_come_and_go(report: Report, heard: list[object]) -> None:
    """Who is out of the configuration is not told of; when it is back, all of it is new."""
    report.follow({})
    report.measured(measurement(4 * GIB), lively=True)
    report.unknown(GPU)
    assert heard == []
    report.follow({GPU: GIB})
    report.measured(measurement(20 * GIB, r7=3 * GIB), lively=False)
    assert heard == [told(20 * GIB, r7=3 * GIB)]


def test_another_headroom_counts_at_once(report: Report, heard: list[object]) -> None:
    """A change that crosses it is told, however small."""
    report.follow({GPU: 20 * GIB - 10 * MIB})
    report.measured(measurement(20 * GIB - 20 * MIB, r7=3 * GIB), lively=False)
    assert heard == [told(20 * GIB - 20 * MIB, r7=3 * GIB)]
