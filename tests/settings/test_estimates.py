"""Claims that are made for a service that declares none, and claims that are doubted."""

import re

import pytest

from proxycore import RAM, DeviceId
from proxycore.config import Placement
from proxyserver._amounts import in_gib
from proxyserver.templates.llamacpp import LlamaCpp, LlamaCppOptions
from tests.gguf.writing import dense, dense_tensors, words, write

from .writing import Folder

GPUS = "server: {runtime: docker, devices: {gpu0: 4GiB, gpu1: 1GiB}, ram: 8GiB}\n"
NO_GPU = "server: {runtime: docker, ram: 8GiB}\n"
PROMPTS = "up to 8 GiB of main memory for prompts is not counted: set `cache_ram`"
GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")


@pytest.fixture
def model(folder: Folder) -> str:
    return str(write(folder.path / "x.gguf", dense(6) | words(), dense_tensors(6)))


def read(folder: Folder, server: str, options: str) -> tuple[tuple[Placement, ...], list[str]]:
    """Return where the one service may live, and what is said of its memory."""
    text = f"{server}services: {{a: {{type: llamacpp, model: x.gguf, {options}}}}}"
    found = folder.load(text)
    remarks = [one for one in found.remarks if one.path != "services.a.model"]
    assert {(one.path, one.line) for one in remarks} <= {("services.a.memory", 2)}
    (service,) = found.core.services
    return service.placements, [one.message for one in remarks]


def test_any_gpu_that_can(folder: Folder, model: str) -> None:
    """The GPU's part goes on any one that has that much, the rest into main memory."""
    need = LlamaCpp().draft(LlamaCppOptions(model, ctx=256, cache_ram=0)).need
    assert need is not None
    where, said = read(folder, GPUS, "ctx: 256, cache_ram: 0")
    # A GPU of 1 GiB gives 512 MiB, which its driver would take alone.
    assert where == (Placement(((GPU0, need.vram), (RAM, need.ram))),)
    amounts = f"{in_gib(need.vram)} of vram and {in_gib(need.ram)} of ram"
    assert said == [f"none is declared; claims {amounts} by estimate"]
    where, _ = read(folder, GPUS.replace("1GiB", "4GiB"), "ctx: 256, cache_ram: 0")
    assert where == tuple(Placement(((gpu, need.vram), (RAM, need.ram))) for gpu in (GPU0, GPU1))


@pytest.mark.parametrize(
    ("server", "options"),
    [(NO_GPU, "ctx: 256"), (GPUS, "ctx: 256, gpu_layers: 0"), (GPUS, "ctx: 256, variant: cpu")],
)
def test_main_memory_without_a_gpu(folder: Folder, model: str, server: str, options: str) -> None:
    """All of it is claimed there, where there is no GPU or none is used."""
    need = LlamaCpp().draft(LlamaCppOptions(model, ctx=256)).need_without_gpu
    assert need is not None
    where, said = read(folder, server, options)
    assert where == (Placement(((RAM, need.ram),)),)
    assert said == [f"none is declared; claims {in_gib(need.ram)} of ram by estimate ({PROMPTS})"]


def test_more_than_there_is(folder: Folder, model: str) -> None:
    """The claim is cut to what the largest device can give, so that the service can start."""
    where, said = read(folder, GPUS, "ctx: 1000000, cache_ram: 1TiB")
    usable = (4 << 30) - (512 << 20)
    assert where == (Placement(((GPU0, usable), (RAM, (8 << 30) - (512 << 20)))),)
    assert said[0].startswith("none is declared; claims 3.5 GiB of vram and 7.5 GiB of ram by")
    assert said[1].startswith("it needs more than any device here can give: by estimate it takes")


SMALLER = (
    r": lower `ctx` from 200000 to \d+, or set `cache_type_k` and `cache_type_v` to q\d_0, or set"
    r" `gpu_layers` to \d \(of 7\)$"
)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("ctx: 200000", SMALLER),
        ("ctx: 4096, cache_ram: 8GiB", r": lower `cache_ram` from 8 GiB to 7\d{3}MiB$"),
    ],
)
def test_what_would_fit_is_computed(folder: Folder, model: str, options: str, remedy: str) -> None:
    """The smallest change of each kind is told before anything starts."""
    _, said = read(folder, GPUS, options)
    assert re.search(remedy, said[1])


def test_a_claim_that_can_never_be_met_says_what_would_do(folder: Folder, model: str) -> None:
    """The place, the figures, and what the model takes or which option makes it fit."""
    service = "type: llamacpp, model: x.gguf, cache_ram: 0, memory: {vram: 9GiB}"
    said = "services.a.memory.vram: can never be met: 9 GiB is more than there is on gpu0"
    for ctx, advice in ((4096, "which there is$"), (200000, SMALLER)):
        (problem,) = folder.problems(f"{GPUS}services: {{a: {{{service}, ctx: {ctx}}}}}")
        assert said in problem
        assert re.search(advice, problem)


@pytest.mark.parametrize(
    ("server", "memory", "said"),
    [
        (GPUS, "{vram: 3GiB}", []),
        (GPUS, "{vram: {gpu0: 600MiB, gpu1: 500MiB}}", []),
        # The weights and the cache are 102 MiB.
        (GPUS, "{vram: 90MiB}", []),
        (NO_GPU, "{ram: 90MiB}", []),
        (GPUS, "{vram: 50MiB}", ["claims 50 MiB of vram, but it will take about "]),
        (GPUS, "{ram: 4GiB}", ["claims 0 B of vram, but it will take about "]),
        (GPUS, "{}", ["claims 0 B of vram, but it will take about "]),
        (NO_GPU, "{ram: 4GiB}", []),
        (NO_GPU, "{ram: 50MiB}", ["claims 50 MiB of ram, but it will take about "]),
    ],
)
def test_declared_claims(
    folder: Folder, model: str, server: str, memory: str, said: list[str]
) -> None:
    """What is declared counts; if it is much too small, that is said and is no error."""
    where, remarks = read(folder, server, f"ctx: 256, memory: {memory}")
    assert [one[: len(start)] for one, start in zip(remarks, said, strict=True)] == said
    amounts = [amount for place in where for _, amount in place.amounts]
    assert all(amount % (1 << 20) == 0 for amount in amounts)


def test_nothing_is_claimed_for_what_cannot_be_read(folder: Folder) -> None:
    """It is said, with the reason; the server may know better, or say it again."""
    folder.model("x.gguf", 64)
    where, said = read(folder, NO_GPU, "ctx: 256")
    assert where == (Placement(),)
    assert said[0].startswith("none is declared, and nothing is claimed: its memory cannot be")


def test_other_types_are_left_alone(folder: Folder) -> None:
    """A service of no type with no claim is as it was."""
    found = folder.load(NO_GPU + "services: {a: {process: {command: sh}}}")
    assert found.remarks == ()
