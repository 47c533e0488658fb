"""NVIDIA's GPUs: what there is, how much of it is free, and which runs hold the rest, by NVML.

A call may take long or hang when a driver is in trouble, and threads cannot be cancelled.  So
there is one thread at most: while it hangs, later calls wait for it and run into their time-out.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import pynvml
import trio

from proxycore import DeviceId, RunId

from ._protocol import Fault, GaugeFault, Measurement, Vitals

FIND_S = 5.0
"""A driver without persistence mode takes 1 to 3 s to wake a GPU."""
FAST_S = 0.25

Whose = Callable[[Collection[int]], Awaitable[Mapping[int, RunId]]]
"""Tells which of these processes are of which run of ours; the others are strangers."""

_EXPLAINED = {
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded (`dmesg` tells more)",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was updated while an older one is loaded (reboot)"
    ),
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU has fallen off the bus (reboot; `dmesg` tells more)",
    pynvml.NVML_ERROR_NO_PERMISSION: "NVML does not permit it to this user",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU does not tell its memory (declare it)",
}


@attrs.frozen
class Gpu:
    """One GPU of this machine."""

    id: DeviceId
    """`gpu0`, `gpu1`, ... by PCI bus, as CUDA counts with CUDA_DEVICE_ORDER=PCI_BUS_ID."""
    uuid: str
    name: str
    handle: Any = attrs.field(repr=False, eq=False)


@attrs.frozen
class _Reading:
    total: int
    free: int
    by_pid: Mapping[int, int]
    complete: bool
    vitals: Vitals


def find_gpus(within_s: float = FIND_S) -> Mapping[DeviceId, int]:
    """Return the GPUs of this machine with their memory; blocks, but not for longer than it may.

    Raises:
        GaugeFault: there is no driver, or it is in trouble.
    """
    answers: queue.SimpleQueue[Mapping[DeviceId, int] | pynvml.NVMLError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_find())
        except pynvml.NVMLError as error:
            answers.put(error)

    threading.Thread(target=ask, name="find GPUs", daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except queue.Empty:
        raise GaugeFault(f"the NVIDIA driver has not answered within {within_s:g} s") from None
    if isinstance(answer, pynvml.NVMLError):
        raise GaugeFault(_explain(answer)) from answer
    return answer


def _find() -> Mapping[DeviceId, int]:
    pynvml.nvmlInit()
    try:
        return {gpu.id: _memory(gpu.handle)[0] for gpu in _gpus()}
    finally:
        pynvml.nvmlShutdown()


class NvmlGauge:
    """Measures the GPUs among some devices: those that are called `gpu` and a number.

    Args:
        devices: which to measure.
        whose: tells the runs of processes.
    """

    name = "gpu"
    fast_s = FAST_S

    def __init__(self, devices: Collection[DeviceId], whose: Whose) -> None:
        self._devices = devices
        self._whose = whose
        self._limiter = trio.CapacityLimiter(1)
        # None: NVML is closed.
        self._gpus: Mapping[DeviceId, Gpu] | None = None
        # For good: a GPU that is lost must not pass its number to the next one.
        self._uuids: Mapping[DeviceId, str] = {}

    @property
    def message(self) -> str:
        """Tell which GPUs there are."""
        gpus = ", ".join(f"{gpu.id} {gpu.name} ({gpu.uuid})" for gpu in (self._gpus or {}).values())
        return f"NVML: {gpus or 'no GPU'}"

    async def measure(self) -> Sequence[Measurement | Fault]:
        """Measure every GPU; one that is in trouble does not hide the others.

        Raises:
            GaugeFault: there is no driver, or all of it is in trouble.
        """
        at = trio.current_time()
        readings = await trio.to_thread.run_sync(
            self._read, abandon_on_cancel=True, limiter=self._limiter
        )
        pids = {
            pid
            for reading in readings.values()
            if isinstance(reading, _Reading)
            for pid in reading.by_pid
        }
        owners = await self._whose(pids) if pids else {}
        return [
            _measurement(device, reading, owners, at)
            if isinstance(reading, _Reading)
            else Fault(device, reading)
            for device, reading in readings.items()
        ]

    # In the thread

    def _read(self) -> dict[DeviceId, _Reading | str]:
        if self._gpus is None:
            try:
                self._gpus = self._open()
            except pynvml.NVMLError as error:
                raise GaugeFault(f"{_explain(error)}: declared claims only") from error
        readings: dict[DeviceId, _Reading | str] = {}
        for device in self._devices:
            gpu = self._gpus.get(device)
            if gpu is None:
                known = ", ".join(self._uuids) or "no GPU"
                readings[device] = f"NVML does not have it; there is {known}"
                continue
            try:
                readings[device] = _read_one(gpu.handle)
            except pynvml.NVMLError as error:
                readings[device] = _explain(error)
        if readings and not any(isinstance(reading, _Reading) for reading in readings.values()):
            self._close()
        return readings

    def _open(self) -> Mapping[DeviceId, Gpu]:
        pynvml.nvmlInit()
        try:
            gpus = {gpu.uuid: gpu for gpu in _gpus()}
        except pynvml.NVMLError:
            self._close()
            raise
        self._uuids = self._uuids or {gpu.id: gpu.uuid for gpu in gpus.values()}
        return {
            device: attrs.evolve(gpus[uuid], id=device)
            for device, uuid in self._uuids.items()
            if uuid in gpus
        }

    def _close(self) -> None:
        """Begin anew next time: a driver that was loaded again knows none of our handles."""
        self._gpus = None
        with suppress(pynvml.NVMLError):  # It is closed already, or beyond help.
            pynvml.nvmlShutdown()


def _gpus() -> list[Gpu]:
    """Return the GPUs by PCI bus; NVML's own order is not promised to be that."""
    placed = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pci = pynvml.nvmlDeviceGetPciInfo_v3(handle)
        placed.append(((pci.domain, pci.bus, pci.device), index, handle))
    return [
        Gpu(
            DeviceId(f"gpu{number}"),
            str(pynvml.nvmlDeviceGetUUID(handle)),
            str(pynvml.nvmlDeviceGetName(handle)),
            handle,
        )
        for number, (_, _, handle) in enumerate(sorted(placed, key=lambda place: place[:2]))
    ]


def _memory(handle: Any) -> tuple[int, int]:
    """Return total and free.

    What counts as used differs between versions of NVML and of its documents (with or without the
    part that the driver reserves); the free part is the same in all.
    """
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return int(memory.total), int(memory.free)


def _read_one(handle: Any) -> _Reading:
    total, free = _memory(handle)
    held: dict[int, int] = {}
    complete = True
    # By their numbered names: the others hide a driver that is too old behind another error.
    for ask in (
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
    ):
        try:
            processes = ask(handle)
        except pynvml.NVMLError as error:
            # Cards that only compute do not have the second list.
            draws = ask is pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3
            complete &= draws and error.value == pynvml.NVML_ERROR_NOT_SUPPORTED
            continue
        listed: dict[int, int] = {}
        for process in processes:
            if process.usedGpuMemory is None:
                complete = False
            else:
                listed[process.pid] = listed.get(process.pid, 0) + process.usedGpuMemory
        # A process that both computes and draws is in both lists, each time with all it holds.
        held = {pid: max(held.get(pid, 0), listed.get(pid, 0)) for pid in {**held, **listed}}
    return _Reading(total, free, held, complete, _vitals(handle))


def _vitals(handle: Any) -> Vitals:
    def told(ask: Callable[[], float]) -> float | None:
        try:
            return ask()
        except pynvml.NVMLError:
            return None  # Not every card has every sensor.

    return Vitals(
        told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        # Its successor (nvmlDeviceGetTemperatureV) is not there before driver 560.
        told(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
        told(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    )


def _measurement(
    device: DeviceId, reading: _Reading, owners: Mapping[int, RunId], at: float
) -> Measurement:
    by_run: dict[RunId, int] = {}
    for pid, amount in reading.by_pid.items():
        if pid in owners:
            by_run[owners[pid]] = by_run.get(owners[pid], 0) + amount
    return Measurement(
        device, reading.total, reading.free, by_run, at, reading.complete, reading.vitals
    )


def _explain(error: pynvml.NVMLError) -> str:
    return _EXPLAINED.get(error.value) or f"NVML: {error}"
