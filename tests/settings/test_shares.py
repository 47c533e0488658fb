"""Claims for servers that take a part of a GPU whatever their model."""

import pytest

from proxycore import RAM, DeviceId
from proxycore.config import GIB, Placement

from .writing import Folder

GPUS = "server: {runtime: docker, devices: {gpu0: 20GiB, gpu1: 10GiB}, ram: 64GiB, headroom: 1GiB}"
GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")


def read(
    folder: Folder, options: str, server: str = GPUS
) -> tuple[tuple[Placement, ...], list[str]]:
    text = f"{server}\nservices: {{a: {{type: vllm, model: Qwen/Qwen3-8B, {options}}}}}"
    found = folder.load(text)
    (service,) = found.core.services
    return service.placements, [one.message for one in found.remarks]


def test_a_part_of_any_gpu(folder: Folder) -> None:
    """The claim is as large as the GPU wants it."""
    where, said = read(folder, "gpu_memory_utilization: 0.5")
    assert where == (
        Placement(((GPU0, 10 * GIB), (RAM, 4 * GIB))),
        Placement(((GPU1, 5 * GIB), (RAM, 4 * GIB))),
    )
    assert said == ["none is declared; claims 50% of a GPU"]


def test_a_part_of_several(folder: Folder) -> None:
    """Who takes two at once claims of both."""
    where, _ = read(folder, "gpu_memory_utilization: 0.5, tensor_parallel_size: 2")
    assert where == (Placement(((GPU0, 10 * GIB), (GPU1, 5 * GIB), (RAM, 4 * GIB))),)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("tensor_parallel_size: 3", "it takes 3 GPUs at once, and there are 2"),
        ("gpu_memory_utilization: 0.97", "97% of gpu0, which leaves less than its headroom"),
        ("memory: {vram: 5GiB}", "but it will take about 90% of its GPU by estimate"),
    ],
)
def test_what_is_doubtful_is_told(folder: Folder, options: str, said: str) -> None:
    """A claim that cannot hold is no error, since the server may say it better; but it is told."""
    assert any(said in one for one in read(folder, options)[1])


def test_a_claim_of_the_right_size_is_not_doubted(folder: Folder) -> None:
    """Half of the smaller GPU, claimed by hand."""
    assert read(folder, "gpu_memory_utilization: 0.5, memory: {vram: 5GiB}")[1] == []


def test_no_gpu(folder: Folder) -> None:
    """Where there is none nothing is claimed: the service will say why it fails."""
    where, _ = read(folder, "", "server: {runtime: docker, devices: {}, ram: 64GiB}")
    assert where == (Placement(()),)
