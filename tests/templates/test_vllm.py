"""What vLLM is thought to take, awake and asleep."""

from pathlib import Path
from typing import Any

import pytest

from proxycore.config import GIB
from proxyserver.runtime import classify
from proxyserver.runtime._protocol import Call
from proxyserver.templates import Asleep, Draft, Need, Room
from proxyserver.templates.vllm import FAILURES, OWN_RAM, ROOM, Vllm, VllmOptions


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
        (Call("/sleep?level=1&mode=wait"),),
        (Call("/wake_up"),),
        Asleep(ROOM, GIB + OWN_RAM),
    )
    assert draft("x/y", sleep_mode=True).asleep is None
    assert draft(model).sleep == ()


def test_deep_sleep(model: str) -> None:
    """At level 2 nothing stays: it is known what it holds, and to wake it reads its weights."""
    found = draft("x/y", sleep_mode=True, sleep_level=2, tensor_parallel_size=2)
    assert (found.sleep, found.wake, found.asleep) == (
        (Call("/sleep?level=2&mode=wait"),),
        (
            Call("/wake_up?tags=weights"),
            Call("/collective_rpc", body='{"method": "reload_weights"}'),
            Call("/wake_up?tags=kv_cache"),
        ),
        Asleep(2 * ROOM, OWN_RAM),
    )
    with pytest.raises(ValueError, match="set `sleep_mode: true`"):
        draft(model, sleep_level=2)


PRECHECK = (
    "ValueError: Free memory on device cuda:0 (12.38/23.64 GiB) on startup is less than desired GPU"
    " memory utilization"
)
LENGTH = (
    "ValueError: To serve at least one request with the model's max seq len (131,072), (2.15 GiB"
    " KV cache is needed, which is larger than the available KV cache memory (1.5 GiB). Based on"
    " the available memory, the estimated maximum model length is 87808."
)


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        (
            [f"{PRECHECK} (0.92, 21.75 GiB)."],
            "It needs 21.75 GiB, and 12.38 GiB were free. Others held the GPU: lower",
        ),
        ([PRECHECK], "Others held the GPU: lower `gpu_memory_utilization` to 0.52, or claim"),
        ([LENGTH], "Lower `max_model_len` from 131072 to 87808, raise"),
        (["the estimated maximum model length is 432"], "Lower `max_model_len` to 432, raise"),
        (
            [
                "INFO [gpu_worker.py:298] Available KV cache memory: -0.49 GiB",
                "ValueError: No available memory for the cache blocks.",
            ],
            "raise `gpu_memory_utilization` by more than 0.49 GiB of the GPU, or take",
        ),
        (
            ["ValueError: No available memory for the cache blocks."],
            "raise `gpu_memory_utilization`, or take",
        ),
    ],
    ids=["others", "others-short", "length", "length-short", "no-cache", "no-cache-short"],
)
def test_its_own_figures_become_advice(lines: list[str], advice: str) -> None:
    """Lines as people have published them, of several versions."""
    assert advice in classify(1, False, lines, FAILURES).message


@pytest.mark.parametrize(
    ("options", "room", "said"),
    [
        (
            {"gpu_memory_utilization": 0.9},
            Room(12 * GIB, 8 * GIB, 24 * GIB),
            "it takes 90% of each GPU: lower `gpu_memory_utilization` to 0.50",
        ),
        ({"gpu_memory_utilization": 0.5}, Room(12 * GIB, 8 * GIB, 24 * GIB), ""),
        (
            {"kv_cache_memory": 4 * GIB},
            Room(6 * GIB, 8 * GIB, 8 * GIB),
            "by estimate it takes 7 GiB: lower `kv_cache_memory` from 4 GiB to 3072MiB",
        ),
        (
            {"kv_cache_memory": 4 * GIB, "variant": "cpu"},
            Room(0, 8 * GIB),
            "by estimate it takes 9 GiB: lower `kv_cache_memory` from 4 GiB to 3072MiB",
        ),
        (
            {"kv_cache_memory": 4 * GIB},
            Room(2 * GIB, 8 * GIB, 8 * GIB),
            "by estimate it takes 7 GiB, most of it weights: take a smaller model",
        ),
        (
            {"kv_cache_memory": GIB},
            Room(8 * GIB, 8 * GIB, 8 * GIB),
            "by estimate it takes 4 GiB, which there is",
        ),
        ({"variant": "cpu"}, Room(0, 8 * GIB), ""),
    ],
)
def test_what_would_fit(model: str, options: dict[str, Any], room: Room, said: str) -> None:
    """Its part of the GPU or its cache, as far as it is known what it takes."""
    remedy = draft(model, **options).remedy
    assert remedy is not None
    assert remedy(room) == said
