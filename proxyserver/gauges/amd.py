"""AMD's GPUs: what there is and how much of it is free, by the files of the kernel's driver.

The files are those that the kernel documents for amdgpu (mem_info_vram_total, mem_info_vram_used).
They do not say which process holds what, so no figure is given for single runs.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from proxycore import DeviceId

from ._protocol import Fault, GaugeFault, Measurement, Vitals

ROOT = Path("/")
VENDOR = "0x1002"
VRAM_MIN = 2 * 1024**3
"""A GPU inside a processor calls a little of main memory its own: no server lives there."""
FAST_S = 0.25


def find_gpus(root: Path = ROOT) -> Mapping[DeviceId, int]:
    """Return the GPUs with their memory; none if there is no such driver."""
    return {device: _figure(folder, "total") for device, folder in _gpus(root).items()}


class AmdGauge:
    """Measures the GPUs among some devices: those that are called `gpu` and a number, by PCI bus.

    Args:
        devices: which to measure.
        root: where the files of the kernel are.
    """

    name = "gpu"
    fast_s = FAST_S

    def __init__(self, devices: Collection[DeviceId], root: Path = ROOT) -> None:
        self._devices = devices
        self._root = root

    @property
    def message(self) -> str:
        return f"amdgpu: {', '.join(_gpus(self._root)) or 'no GPU'}"

    async def measure(self) -> Sequence[Measurement | Fault]:
        """Measure every GPU; one that is in trouble does not hide the others.

        Raises:
            GaugeFault: there is no GPU any more.
        """
        at = trio.current_time()
        gpus = await trio.to_thread.run_sync(_gpus, self._root, abandon_on_cancel=True)
        if not gpus:
            raise GaugeFault("amdgpu has no GPU any more (`dmesg` tells more)")
        return [_measure(device, gpus, at) for device in self._devices]


def _measure(device: DeviceId, gpus: Mapping[DeviceId, Path], at: float) -> Measurement | Fault:
    if device not in gpus:
        return Fault(device, "amdgpu does not have it")
    try:
        total, used = (_figure(gpus[device], what) for what in ("total", "used"))
    except (OSError, ValueError) as error:
        return Fault(device, f"amdgpu does not tell its memory: {error}")
    vitals = _vitals(gpus[device])
    return Measurement(device, total, max(0, total - used), {}, at, complete=False, vitals=vitals)


def _vitals(folder: Path) -> Vitals:
    """Return what the kernel's hwmon tells of a card (its documents call edge the card's own)."""

    def told(pattern: str, units: float) -> float | None:
        for file in sorted(folder.glob(pattern)):
            with suppress(OSError, ValueError):
                return int(file.read_text()) / units
        return None

    return Vitals(
        told("gpu_busy_percent", 100),
        told("hwmon/hwmon*/temp1_input", 1000),
        told("hwmon/hwmon*/power1_average", 1_000_000),
    )


def _gpus(root: Path) -> Mapping[DeviceId, Path]:
    """Return the folders of the GPUs, in the order of their PCI addresses."""
    found: dict[str, Path] = {}
    for folder in (root / "sys/class/drm").glob("card*/device"):
        try:
            ours = (folder / "vendor").read_text().strip() == VENDOR
            if ours and _figure(folder, "total") >= VRAM_MIN:
                found[folder.resolve().name] = folder
        except (OSError, ValueError):
            continue  # It has a connector's name, or tells no memory: no GPU for us.
    return {DeviceId(f"gpu{number}"): found[bus] for number, bus in enumerate(sorted(found))}


def _figure(folder: Path, what: str) -> int:
    return int((folder / f"mem_info_vram_{what}").read_text())
