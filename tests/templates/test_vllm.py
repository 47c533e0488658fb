"""What vLLM is thought to take, awake and asleep."""

from pathlib import Path
from typing import Any

import pytest

from proxycore.config import GIB
from proxyserver.runtime._protocol import Call
from proxyserver.templates import Asleep, Draft, Need
from proxyserver.templates.vllm import OWN_RAM, ROOM, Vllm, VllmOptions


@pytest.fixture
def model(tmp_path: Path) -> str:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(GIB)
    return str(tmp_path)


def draft(model: str, **options: Any) -> Draft:
    return Vllm().draft(VllmOptions(model, **options))


def test_a_part_of_a_gpu() -> None:
    """It takes that whatever the model."""
    found = draft("x/y", gpu_memory_utilization=0.5, tensor_parallel_size=2, cpu_offload=GIB)
    assert (found.need, found.need_without_gpu, found.doubts) == (
        Need(0, OWN_RAM + GIB, 0, share=0.5, gpus=2),
        None,
        (),
    )


def test_a_cache_of_a_size(model: str) -> None:
    """Then its weights count, on a GPU and without one."""
    assert draft(model, kv_cache_memory=GIB).need == Need(2 * GIB + ROOM, OWN_RAM, 2 * GIB)
    without = draft(model, kv_cache_memory=GIB, variant="cpu")
    assert without.need_without_gpu == Need(0, 2 * GIB + OWN_RAM, 2 * GIB)


@pytest.mark.parametrize(
    ("name", "options"),
    [("x/y", {"kv_cache_memory": GIB}), ("x/y", {"variant": "cpu"}), ("", {"kv_cache_memory": 1})],
)
def test_what_is_not_known_is_told(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """No guess for a name at the hub, or for a folder without weights."""
    found = draft(name or str(tmp_path), **options)
    assert (found.need, found.need_without_gpu) == (None, None)
    assert len(found.doubts) == 1


def test_sleep(model: str) -> None:
    """At level 1 the weights stay in main memory; unasked it cannot sleep."""
    found = draft(model, sleep_mode=True)
    assert (found.sleep, found.wake, found.asleep) == (
        Call("/sleep?level=1&mode=wait"),
        Call("/wake_up"),
        Asleep(ROOM, GIB + OWN_RAM),
    )
    assert draft("x/y", sleep_mode=True).asleep is None
    assert draft(model).sleep is None
