"""GPUs that the configuration declares, leaves out, or claims in vain."""

from collections.abc import Callable, Mapping

import attrs
import pytest

from proxycore import RAM, DeviceId
from proxycore.config import GIB, DeviceSpec, Placement
from proxyserver.gauges import GaugeFault

from .writing import Folder, no_gpus

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")


def test_gpus_that_are_left_out_are_found(folder: Folder) -> None:
    """The driver's GPUs become devices with all their memory, and can be claimed."""
    machine = attrs.evolve(folder, find_gpus=lambda: {GPU0: 24 * GIB, GPU1: 8 * GIB})
    claim = "{a: {process: {command: sh}, memory: {vram: 7GiB}}}"
    core = machine.load(f"server: {{headroom: 1GiB, ram: 4GiB}}\nservices: {claim}").core
    assert core.devices == (
        DeviceSpec(GPU0, 24 * GIB, GIB),
        DeviceSpec(GPU1, 8 * GIB, GIB),
        DeviceSpec(RAM, 4 * GIB, GIB),
    )
    assert core.services[0].placements == tuple(
        Placement(((gpu, 7 * GIB),)) for gpu in (GPU0, GPU1)
    )


@pytest.mark.parametrize(
    ("devices", "gpus"), [("{gpu7: 2GiB}", ["gpu7"]), ("{}", [])], ids=["some", "none"]
)
def test_declared_devices_win(folder: Folder, devices: str, gpus: list[str]) -> None:
    """Where the file says what there is, no driver is asked."""

    def asked() -> Mapping[DeviceId, int]:
        raise AssertionError

    machine = attrs.evolve(folder, find_gpus=asked)
    found = machine.load(f"server: {{devices: {devices}}}\nservices: {{}}").core.devices
    assert [device.id for device in found] == [*gpus, RAM]


def no_driver() -> Mapping[DeviceId, int]:
    raise GaugeFault("no NVIDIA driver")


@pytest.mark.parametrize(
    ("server", "find_gpus", "why"),
    [
        ("{devices: {}}", no_driver, "`server.devices` names none"),
        ("{}", no_gpus, "`server.devices` is left out and none was found"),
        ("{}", no_driver, "`server.devices` is left out and none was found (no NVIDIA driver)"),
    ],
)
def test_a_claim_without_gpus(
    folder: Folder, server: str, find_gpus: Callable[[], Mapping[DeviceId, int]], why: str
) -> None:
    """A claim that nothing can meet says why there is no GPU; all else can do without."""
    machine = attrs.evolve(folder, find_gpus=find_gpus)
    text = f"server: {server}\nservices: {{a: {{process: {{command: sh}}, memory: {{vram: 1}}}}}}"
    (problem,) = machine.problems(text)
    assert problem.endswith(f"memory.vram: claims memory of a GPU, but {why}")
    assert machine.load(text.replace("vram", "ram")).services
