"""The GPUs of this machine by the driver it has: NVIDIA's, else AMD's, else none.

pynvml takes 0.1 s to import, which a machine without a driver need not pay.
"""

import ctypes
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from proxycore import DeviceId

from . import amd
from ._protocol import Gauge, GaugeFault, Measurement

if TYPE_CHECKING:
    from .nvml import Whose

_NO_DRIVER = "no driver of NVIDIA or AMD"


def find_gpus() -> Mapping[DeviceId, int]:
    """Return the GPUs with their memory; blocks for some seconds at most.

    Raises:
        GaugeFault: there is no driver, or it is in trouble.
    """
    if not _has_driver():
        if gpus := amd.find_gpus():
            return gpus
        raise GaugeFault(_NO_DRIVER)
    from . import nvml

    return nvml.find_gpus()


def gpu_gauge(devices: Collection[DeviceId], whose: "Whose") -> Gauge:
    """Return what measures the GPUs among the devices; without a driver, it says so."""
    if not _has_driver():
        if amd.find_gpus():
            return amd.AmdGauge(devices)
        return _NoGauge(f"{_NO_DRIVER}: declared claims only")
    from . import nvml

    return nvml.NvmlGauge(devices, whose)


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


@attrs.frozen
class _NoGauge:
    message: str
    name: str = "gpu"
    fast_s: float = 1.0

    async def measure(self) -> Sequence[Measurement]:
        await trio.lowlevel.checkpoint()
        raise GaugeFault(self.message)
