"""The GPUs' memory by the real pynvml, on a fake library: all that a driver may say."""

import os
import time
from collections.abc import Collection, Mapping

import pytest
import trio

from proxycore import DeviceId, RunId
from proxyserver.gauges import Fault, GaugeFault, Measurement, Vitals
from proxyserver.gauges.nvml import NvmlGauge, find_gpus
from tests.rig import fake_gpus as rig
from tests.rig.fake_gpus import GIB, RESERVED, FakeGpus, load_fake_nvml

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
ME, OTHER = os.getpid(), os.getppid()
RUN = RunId(7)


@pytest.fixture
def gpus(fake_gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    """Fake GPUs that this very process sees."""
    monkeypatch.setenv("FAKE_NVML_DIR", str(fake_gpus.folder))
    load_fake_nvml(fake_gpus.library)
    return fake_gpus


async def mine(pids: Collection[int]) -> Mapping[int, RunId]:
    await trio.lowlevel.checkpoint()
    return {pid: RUN for pid in pids if pid == ME}


def gauge(*devices: DeviceId) -> NvmlGauge:
    return NvmlGauge(devices or (GPU0,), mine)


async def measured(gauge: NvmlGauge) -> Measurement:
    (found,) = await gauge.measure()
    assert isinstance(found, Measurement)
    return found


async def test_measures_each_gpu(gpus: FakeGpus) -> None:
    """Total, free and what each run holds, device by device; the rest is foreign."""
    gpus.plug(8 * GIB, 24 * GIB)
    gpus.hold(ME, {0: GIB, 1: 2 * GIB})
    gpus.hold(OTHER, {1: 3 * GIB})
    before = trio.current_time()
    one, two = await gauge(GPU0, GPU1).measure()
    assert isinstance(one, Measurement)
    assert isinstance(two, Measurement)
    assert one == Measurement(GPU0, 8 * GIB, 7 * GIB - RESERVED, {RUN: GIB}, one.at)
    assert two == Measurement(GPU1, 24 * GIB, 19 * GIB - RESERVED, {RUN: 2 * GIB}, two.at)
    assert (one.foreign, two.foreign) == (RESERVED, RESERVED + 3 * GIB)
    assert two.used == 5 * GIB + RESERVED
    assert before <= one.at <= trio.current_time()


async def test_tells_use_warmth_and_power(gpus: FakeGpus) -> None:
    """Of a card that has the sensors; one that fails leaves the others."""
    gpus.plug(8 * GIB, 24 * GIB)
    gpus.be(1, percent=37, celsius=61, milliwatts=245_500)
    nvml = gauge(GPU0, GPU1)
    one, two = await nvml.measure()
    assert isinstance(one, Measurement)
    assert isinstance(two, Measurement)
    assert (one.vitals, two.vitals) == (Vitals(), Vitals(0.37, 61.0, 245.5))
    gpus.fail("nvmlDeviceGetPowerUsage", rig.ERROR_NO_PERMISSION)
    _, two = await nvml.measure()
    assert isinstance(two, Measurement)
    assert two.vitals == Vitals(0.37, 61.0, None)


async def test_memory_counts_while_its_holder_lives(gpus: FakeGpus) -> None:
    """What a server held is free again as soon as it is gone."""
    gpus.plug(8 * GIB)
    nvml = gauge()
    with gpus.locked(ME, {0: GIB}):
        assert (await measured(nvml)).by_run == {RUN: GIB}
    found = await measured(nvml)
    assert (found.by_run, found.free) == ({}, 8 * GIB - RESERVED)


async def test_numbers_are_by_pci_bus(gpus: FakeGpus) -> None:
    """Whatever NVML's order: so `gpu0` is what CUDA calls 0 by PCI_BUS_ID."""
    gpus.plug(8 * GIB, 24 * GIB, buses=(9, 3))
    assert find_gpus() == {GPU0: 24 * GIB, GPU1: 8 * GIB}
    nvml = gauge(GPU0, GPU1)
    assert [found.total for found in await nvml.measure() if isinstance(found, Measurement)] == [
        24 * GIB,
        8 * GIB,
    ]
    assert nvml.message == "NVML: gpu0 Fake B (GPU-B), gpu1 Fake A (GPU-A)"


async def test_missing_figures_are_unknown_not_nothing(gpus: FakeGpus) -> None:
    """A driver that does not tell the share of a process still tells what is free."""
    gpus.plug(8 * GIB, figures=False)
    gpus.hold(ME, {0: GIB})
    found = await measured(gauge())
    assert found.free == 7 * GIB - RESERVED
    assert (found.by_run, found.complete, found.foreign) == ({}, False, None)


@pytest.mark.parametrize(
    ("function", "error", "complete"),
    [
        ("nvmlDeviceGetComputeRunningProcesses", rig.ERROR_NO_PERMISSION, False),
        ("nvmlDeviceGetComputeRunningProcesses", rig.ERROR_NOT_SUPPORTED, False),
        ("nvmlDeviceGetGraphicsRunningProcesses", rig.ERROR_NO_PERMISSION, False),
        ("nvmlDeviceGetGraphicsRunningProcesses", rig.ERROR_NOT_SUPPORTED, True),
    ],
)
async def test_missing_lists_of_processes(
    gpus: FakeGpus, function: str, error: int, complete: bool
) -> None:
    """Only the list of those who draw may be missing: some cards cannot draw."""
    gpus.plug(8 * GIB)
    gpus.hold(ME, {0: GIB})
    gpus.fail(function, error)
    found = await measured(gauge())
    # The fake has every process in both lists.
    assert (found.by_run, found.complete) == ({RUN: GIB}, complete)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (rig.ERROR_GPU_IS_LOST, "fallen off the bus"),
        (rig.ERROR_NOT_SUPPORTED, "declare it"),
        (rig.ERROR_NO_PERMISSION, "not permit"),
        (rig.ERROR_UNKNOWN, "Unknown Error"),
    ],
)
async def test_one_gpu_in_trouble_hides_no_other(gpus: FakeGpus, error: int, words: str) -> None:
    """The fault is told of that device, the others are measured, and it may come back."""
    gpus.plug(8 * GIB, 24 * GIB)
    nvml = gauge(GPU0, GPU1)
    gpus.fail("nvmlDeviceGetMemoryInfo", error, gpu=0)
    bad, good = await nvml.measure()
    assert isinstance(bad, Fault)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(bad.message)
    assert isinstance(good, Measurement)
    assert (bad.device, good.device, good.total) == (GPU0, GPU1, 24 * GIB)
    gpus.mend()
    assert all(isinstance(found, Measurement) for found in await nvml.measure())


async def test_a_lost_gpu_leaves_its_number(gpus: FakeGpus) -> None:
    """A driver that was loaded again without it does not make another one `gpu0`."""
    gpus.plug(8 * GIB, 24 * GIB)
    nvml = gauge(GPU0, GPU1)
    await nvml.measure()
    gpus.unload()
    await nvml.measure()
    (gpus.folder / "gpus").write_text(
        f"gpu pci=1 total={24 * GIB} reserved={RESERVED} figures=1 uuid=GPU-B name=Fake B\n"
    )
    lost, good = await nvml.measure()
    assert lost == Fault(GPU0, "NVML does not have it; there is gpu0, gpu1")
    assert isinstance(good, Measurement)
    assert (good.device, good.total) == (GPU1, 24 * GIB)


async def test_a_driver_that_goes_and_comes(gpus: FakeGpus) -> None:
    """A driver lost in mid-flight is told of; once it is loaded, figures come again."""
    with pytest.raises(GaugeFault, match=r"not loaded .*: declared claims only"):
        await gauge().measure()
    gpus.plug(8 * GIB)
    nvml = gauge()
    assert (await measured(nvml)).total == 8 * GIB
    gpus.unload()
    (fault,) = await nvml.measure()
    assert isinstance(fault, Fault)
    with pytest.raises(GaugeFault, match="not loaded"):
        await nvml.measure()
    gpus.plug(8 * GIB)
    assert (await measured(nvml)).total == 8 * GIB


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetUUID"])
async def test_any_call_may_fail(gpus: FakeGpus, function: str) -> None:
    """Whatever fails on the way to the GPUs is a fault of the world, and passes."""
    gpus.plug(8 * GIB)
    gpus.fail(function, rig.ERROR_VERSION_MISMATCH)
    nvml = gauge()
    with pytest.raises(GaugeFault, match="reboot"):
        await nvml.measure()
    with pytest.raises(GaugeFault, match="reboot"):
        find_gpus()
    gpus.mend()
    assert (await measured(nvml)).total == 8 * GIB


async def test_unknown_devices(gpus: FakeGpus) -> None:
    """A device without a GPU of its number is told of, with what there is."""
    gpus.plug(8 * GIB)
    assert await gauge(DeviceId("gpu3")).measure() == [
        Fault(DeviceId("gpu3"), "NVML does not have it; there is gpu0")
    ]
    assert await NvmlGauge((), mine).measure() == []


@pytest.mark.slow
async def test_slow_calls_do_not_pile_up(gpus: FakeGpus) -> None:
    """A call that hangs can be left; the next one waits for it, and then all is well."""
    gpus.plug(8 * GIB)
    nvml = gauge()
    gpus.fail("nvmlDeviceGetMemoryInfo", 0, delay_ms=500)
    began_at = time.monotonic()
    with trio.move_on_after(0.05) as first:
        await nvml.measure()
    with trio.move_on_after(0.05) as second:
        await nvml.measure()
    assert (first.cancelled_caught, second.cancelled_caught) == (True, True)
    assert time.monotonic() - began_at < 0.4
    gpus.mend()
    assert (await measured(nvml)).total == 8 * GIB


def test_finding_is_bounded(gpus: FakeGpus) -> None:
    """A driver that does not answer holds nobody up."""
    gpus.plug(8 * GIB)
    gpus.fail("nvmlInit", 0, delay_ms=500)
    with pytest.raises(GaugeFault, match=r"not answered within 0\.05 s"):
        find_gpus(within_s=0.05)
