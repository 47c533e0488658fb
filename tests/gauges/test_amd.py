"""AMD's GPUs, by files as the kernel's driver has them (made after its documentation)."""

from pathlib import Path

import pytest

from proxycore import DeviceId
from proxycore.config import GIB, MIB
from proxyserver.gauges import Fault, GaugeFault, Measurement, Vitals
from proxyserver.gauges.amd import AmdGauge, find_gpus

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")


def plug(root: Path, card: int, bus: str, total: int, used: int, vendor: str = "0x1002") -> Path:
    folder = root / "sys/devices/pci0000:00" / bus
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "mem_info_vram_total").write_text(f"{total}\n")
    (folder / "mem_info_vram_used").write_text(f"{used}\n")
    link = root / f"sys/class/drm/card{card}"
    link.mkdir(parents=True)
    (link / "device").symlink_to(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with two cards, a GPU inside the processor, and one of another maker."""
    plug(tmp_path, 0, "0000:0c:00.0", 512 * MIB, MIB)
    plug(tmp_path, 1, "0000:0a:00.0", 24 * GIB, 5 * GIB)
    plug(tmp_path, 2, "0000:03:00.0", 16 * GIB, GIB)
    plug(tmp_path, 3, "0000:01:00.0", 8 * GIB, GIB, vendor="0x10de")
    (tmp_path / "sys/class/drm/card1-DP-1").mkdir()
    return tmp_path


def test_gpus_are_found_in_the_order_of_their_bus(root: Path, tmp_path: Path) -> None:
    """Large ones of this maker only."""
    assert find_gpus(root) == {GPU0: 16 * GIB, GPU1: 24 * GIB}
    assert find_gpus(tmp_path / "nothing") == {}


async def test_memory_is_measured(root: Path, autojump_clock: object) -> None:
    """Of runs nothing is known; what is no GPU of this driver is a fault of its own."""
    gauge = AmdGauge([GPU1, DeviceId("gpu7")], root)
    assert await gauge.measure() == [
        Measurement(GPU1, 24 * GIB, 19 * GIB, {}, 0.0, complete=False),
        Fault(DeviceId("gpu7"), "amdgpu does not have it"),
    ]
    assert gauge.message == "amdgpu: gpu0, gpu1"


async def test_tells_use_warmth_and_power(root: Path) -> None:
    """Where the kernel has files of it."""
    card = root / "sys/devices/pci0000:00/0000:0a:00.0"
    (card / "hwmon/hwmon3").mkdir(parents=True)
    (card / "gpu_busy_percent").write_text("42\n")
    (card / "hwmon/hwmon3/temp1_input").write_text("55000\n")
    (card / "hwmon/hwmon3/power1_average").write_text("210000000\n")
    [plain, told] = await AmdGauge([GPU0, GPU1], root).measure()
    assert isinstance(plain, Measurement)
    assert isinstance(told, Measurement)
    assert (plain.vitals, told.vitals) == (Vitals(), Vitals(0.42, 55.0, 210.0))


async def test_trouble_is_told(root: Path) -> None:
    """A file that says nonsense hides one GPU, and no GPU at all is the end of the gauge."""
    (root / "sys/devices/pci0000:00/0000:03:00.0/mem_info_vram_used").write_text("?\n")
    [fault, other] = await AmdGauge([GPU0, GPU1], root).measure()
    assert isinstance(fault, Fault)
    assert isinstance(other, Measurement)
    with pytest.raises(GaugeFault, match="no GPU any more"):
        await AmdGauge([GPU0], root / "nothing").measure()
