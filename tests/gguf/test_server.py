"""The estimate against what the real llama-server says of itself."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyserver.gguf import Setting, estimate, read_model
from tests.rig.llama import Llama, find_portable_llama

from .test_head import read_or_refuse
from .writing import dense, dense_tensors, words, write

pytestmark = [pytest.mark.llama, pytest.mark.slow]

LINE = re.compile(r"(\S+)\s+(model|KV|compute|output)\s+buffer size\s*=\s*([\d.]+)\s*MiB")
ROUNDING = 0.005
"""Of the server's own figures, in MiB."""
PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def llama(rig_cache: Path) -> Llama:
    """The newest build, and the same on every machine: the sizes are its own."""
    return find_portable_llama(rig_cache)


def buffers(lines: Iterable[str]) -> dict[str, float]:
    """Return the sizes of the buffers, by what is in them, until the last of them is told."""
    sizes: dict[str, float] = {}
    for line in lines:
        found = LINE.search(line)
        # On a processor it keeps some weights a second time, in an order that suits it.
        if found is not None and not found[1].endswith("_REPACK"):
            sizes[found[2]] = sizes.get(found[2], 0) + float(found[3])
            if found[2] == "compute":
                break
    return sizes


def measured(llama: Llama, model: Path, *flags: str) -> dict[str, float]:
    """Start the server, and end it when it has told its buffers."""
    process = subprocess.Popen(
        [llama.parts.server, "-m", model, "--host", "127.0.0.1", "--port", "0", "-lv", "4",
         *"-t 1 -ngl 0 --device none -fit off -cram 0 --no-warmup --no-ui".split(), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | dict(llama.environment),
    )  # fmt: skip
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        return buffers(process.stdout)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def estimated(model: Path, setting: Setting) -> dict[str, object]:
    """Return the same from the file alone, within 1 %."""
    ram = estimate(read_model(model), setting).ram
    named = {"model": ram.weights, "KV": ram.cache, "compute": ram.compute, "output": ram.output}
    return {
        name: pytest.approx(size / (1 << 20), rel=0.01, abs=ROUNDING)
        for name, size in named.items()
    }


@pytest.mark.parametrize("cache_type", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("ctx", [512, 2048, 8192])
def test_a_real_model(llama: Llama, ctx: int, cache_type: str) -> None:
    """Every buffer is within 1 % of what the server tells, by context and by type of cache."""
    model = llama.parts.model
    flags = f"-c {ctx} -np 1 -ctk {cache_type} -ctv {cache_type}".split()
    setting = Setting(ctx, 1, cache_type, cache_type, gpu_layers=0)
    assert measured(llama, model, *flags) == estimated(model, setting)


@pytest.mark.parametrize(("ctx", "parallel"), [(4096, 4), (1000, 3)])
def test_slots(llama: Llama, ctx: int, parallel: int) -> None:
    """Slots part the context, and each part is rounded."""
    model = llama.parts.model
    flags = f"-c {ctx} -np {parallel}".split()
    assert measured(llama, model, *flags) == estimated(model, Setting(ctx, parallel, gpu_layers=0))


@pytest.mark.parametrize("is_tied", [True, False])
def test_another_architecture(llama: Llama, tmp_path: Path, is_tied: bool) -> None:
    """A model of zeros, whose heads are wider than its embedding."""
    model = write(tmp_path / "x.gguf", dense(6) | words(), dense_tensors(6, is_tied=is_tied))
    flags = "-c 2048 -np 1 -ctk q8_0 -ctv f16 -fa on".split()
    setting = Setting(2048, 1, "q8_0", "f16", gpu_layers=0)
    assert measured(llama, model, *flags) == estimated(model, setting)


def test_a_damaged_real_head(llama: Llama) -> None:
    """The head of a real model, cut and changed anywhere, is read or refused."""
    with llama.parts.model.open("rb") as file:
        whole = file.read(2 << 20)
    # Most of it is words; the numbers stand before them, and the tensors after.
    places = st.one_of(
        st.integers(0, 1500), st.integers(0, len(whole) - 1), st.integers(1_600_000, 1_800_000)
    )

    @settings(max_examples=60)
    @given(st.lists(st.tuples(places, st.binary(min_size=1, max_size=8)), max_size=4), places)
    def damage(changes: list[tuple[int, bytes]], length: int) -> None:
        data = bytearray(whole)
        for at, new in changes:
            data[at : at + len(new)] = new
        read_or_refuse(bytes(data))
        read_or_refuse(bytes(data[:length]))

    damage()
